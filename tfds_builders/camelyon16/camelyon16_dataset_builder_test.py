from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfds_builders
from mlp_med.errors import DatasetError, SourceError
from mlp_med.imaging.slide import opened
from tests.tfds_builders.camelyon16.tiny import SLIDES, draw_source, slide_path, xml_path
from tests.tfds_builders.drawn_source import DrawnSource
from tfds_builders.camelyon16 import Builder, build, check, preview
from tfds_builders.camelyon16.patches import patch_id

# Fields of 62.208 µm: 4 × 4 in a slide of 0.243 µm pixels, 3 × 3 in one of 0.226 µm; of the last
# column of the former, which is glass, none, of that of the latter all: less than half is glass.
# The tumour reaches into the centre of 2 × 1 of them.
PATCHES = {0.243: 12, 0.226: 9}
SPLIT_OF = {name: "test" if "test" in name else "train" for name in SLIDES} | {
    "normal_007": "validation",
    "tumor_007": "validation",
}
SIZES = {0.243: 256, 0.486: 128, 0.972: 64, 1.944: 32}


def expected_splits() -> dict[str, int]:
    return {
        split: sum(PATCHES[um] for name, (um, _) in SLIDES.items() if SPLIT_OF[name] == split)
        for split in ("train", "validation", "test")
    }


class Camelyon16Test(DrawnSource, tfds.testing.DatasetBuilderTestCase):
    """Tests camelyon16; its dummy data are drawn here."""

    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["0.972um", "1.944um"]  # noqa: RUF012
    SPLITS = expected_splits()
    draw = staticmethod(draw_source)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return draw_source(tmp_path_factory.mktemp("camelyon16"))


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory) -> dict[float, tfds.core.DatasetBuilder]:
    builders = build(source, tmp_path_factory.mktemp("data"), num_workers=1)
    return {builder.builder_config.resolution: builder for builder in builders}


def everything(builder: tfds.core.DatasetBuilder) -> dict[str, dict]:
    return {
        example["id"].decode(): {**example, "split": split}
        for split in builder.info.splits
        for example in tfds.as_numpy(builder.as_dataset(split))
    }


def test_the_same_patches_labels_and_splits_at_every_resolution(built):
    finest = everything(built[0.243])
    assert len(finest) == sum(expected_splits().values())
    for resolution, size in SIZES.items():
        examples = everything(built[resolution])
        assert examples.keys() == finest.keys()
        for name, example in examples.items():
            other = finest[name]
            assert example["image"].shape == (size, size, 3)
            assert example["split"] == other["split"] == SPLIT_OF[example["patient"].decode()]
            assert example["label"] == other["label"]
            np.testing.assert_array_equal(example["centre_um"], other["centre_um"])
            difference = example["image"].mean(axis=(0, 1)) - other["image"].mean(axis=(0, 1))
            assert np.abs(difference).max() < 2
    digests = {str(b.info.metadata["examples_digest"]) for b in built.values()}
    assert len(digests) == len(SIZES)


def test_labels_are_those_of_the_outlines_in_the_centre(built):
    tumour = 0
    for name, example in everything(built[1.944]).items():
        slide = example["patient"].decode()
        x, y = example["centre_um"]
        width, height = (pixels * SLIDES[slide][0] for pixels in (500, 300))
        # 31.1 µm of the centre, in steps of the mask's 7.8 µm.
        reaches = x - 31.104 / 2 < width - 4 and y - 31.104 / 2 < height - 4
        assert bool(example["label"]) == (SLIDES[slide][1] and reaches)
        assert name == patch_id(slide, float(x), float(y))
        assert example["slide_label"] == int(SLIDES[slide][1])
        # A rectangle's major axis is 4/√12 of its longer edge; it grows to one side only, since the
        # other is the slide's.
        if example["label"]:
            expected = (width + 37.5) * 2 / np.sqrt(3) - 75
            assert example["diameter_mm"] * 1000 == pytest.approx(expected, rel=0.1)
        else:
            assert example["diameter_mm"] == 0
        tumour += example["label"]
    assert tumour == 3 * 2


def test_native_pixels_are_unchanged_where_the_grids_agree(source, built):
    """0.243 µm of a slide of 0.243 µm: what the file holds, not compressed once more."""
    found = [e for e in everything(built[0.243]).values() if e["patient"] == b"tumor_001"]
    with opened(slide_path(source, "tumor_001")) as slide:
        for example in found:
            x, y = (round(float(c) / 0.243) - 128 for c in example["centre_um"])
            pixels = np.asarray(slide.read_region((x, y), 0, (256, 256)))[..., :3]
            np.testing.assert_array_equal(example["image"], pixels)


def test_both_pixel_sizes_show_the_same_field(source, built):
    """A patch of a slide of 0.226 µm covers 62.2 µm of it as well: 275 of its pixels."""
    examples = everything(built[1.944]).values()
    example = next(e for e in examples if e["patient"] == b"normal_001")
    np.testing.assert_allclose(example["native_spacing_mm"], 0.226e-3, rtol=1e-6)
    x, y = (round((float(c) - 31.104) / 0.226) for c in example["centre_um"])
    with opened(slide_path(source, "normal_001")) as slide:
        pixels = np.asarray(slide.read_region((x, y), 0, (275, 275)))[..., :3].astype(float)
    # The right half is as bright as the right half of what lies there.
    for half in (np.s_[:, :16], np.s_[:, 16:]):
        part = np.s_[:, :137] if half == np.s_[:, :16] else np.s_[:, 138:]
        assert example["image"][half].mean() == pytest.approx(pixels[part].mean(), abs=2)


def test_a_build_does_not_depend_on_workers_nor_on_other_resolutions(source, built, tmp_path):
    (alone,) = build(source, tmp_path / "data", [0.972], num_workers=2)
    digest = alone.info.metadata["examples_digest"]
    assert digest == built[0.972].info.metadata["examples_digest"]
    assert not (tmp_path / "data" / ".crops").exists()


def test_fewer_patches_a_slide_are_some_of_the_same(source, built, tmp_path):
    (few,) = build(source, tmp_path / "data", [1.944], num_workers=1, patches_per_slide=2)
    examples = everything(few)
    assert examples.keys() < everything(built[1.944]).keys()
    assert len(examples) == 3 * (2 + 4)
    with pytest.raises(DatasetError, match="patches_per_slide = 2"):
        build(source, tmp_path / "data", [0.972], patches_per_slide=3)
    # A resolution more, later: those that are built stay, and the patches are the same.
    options = {"num_workers": 1, "patches_per_slide": 2}
    _, other = build(source, tmp_path / "data", [1.944, 0.972], **options)
    assert everything(other).keys() == examples.keys()


def test_partly_annotated_slides_give_no_patch_without_tumour(source, tmp_path):
    root = draw_source(tmp_path / "source")
    for path in (slide_path, xml_path):
        path(root, "tumor_001").rename(path(root, "tumor_010"))
    report = check(root)
    assert any("tumor_010" in warning for warning in report.warnings)
    (builder,) = build(root, tmp_path / "data", [1.944], num_workers=1)
    found = [e for e in everything(builder).values() if e["patient"] == b"tumor_010"]
    assert [example["label"] for example in found] == [1] * 2
    assert not any(example["exhaustive"] for example in found)
    assert builder.info.metadata["partly_annotated"] == ["tumor_010"]


def test_slides_without_tissue_give_a_reason_and_no_dataset(tmp_path):
    from mlp_med.phantoms.slide_file import write_slide

    root = draw_source(tmp_path / "source")
    for name in ("normal_007", "tumor_007"):
        write_slide(slide_path(root, name), np.full((1024, 1024, 3), 244, np.uint8), 0.226)
    with pytest.raises(SourceError, match=r"validation split hold no tissue"):
        build(root, tmp_path / "data", [1.944], num_workers=1)
    assert not list((tmp_path / "data").glob("camelyon16/**/*.*"))


def test_another_source_is_refused(source, tmp_path):
    build(source, tmp_path / "data", [1.944], num_workers=1)
    other = draw_source(tmp_path / "other")
    xml_path(other, "tumor_001").write_text(
        xml_path(other, "tumor_001").read_text().replace('"500"', '"400"')
    )
    with pytest.raises(DatasetError, match="digest"):
        tfds_builders.open_config("camelyon16", 1.944, tmp_path / "data", source=other)


def test_check_states_upper_limits_and_writes_nothing(source):
    report = check(source)
    assert report.problems == []
    assert report.examples["train, at most"] == {"no tumour": 128, "tumour": 64}
    assert report.crop_bytes["0.243um"] == 3 * 256**2 * 3 * 192
    assert report.native == "µm a pixel (slides): 0.226 (3), 0.243 (3)"
    assert "nothing to mend" in str(report)


def test_preview_shows_both_classes_at_every_resolution(source):
    cases = preview(source, 4)
    assert [case.label for case in cases] == ["tumour", "no tumour"] * 2
    for case in cases:
        assert [image.shape[0] for image in case.crops.values()] == list(SIZES.values())


if __name__ == "__main__":
    tfds.testing.test_main()
