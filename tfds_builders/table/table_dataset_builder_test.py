"""Sources are drawn here: tiny NIfTI, MetaImage, DICOM, PNG and TIFF files and their csv files."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tensorflow_datasets as tfds
from PIL import Image

import tfds_builders
from mlp_med.errors import DatasetError, ImageError, SourceError
from mlp_med.evidence.foreign_columns import NO_WORD
from tests.tfds_builders.drawn_source import DrawnSource
from tfds_builders.table import Builder, build, check, crops, preview

SPLITS = ("train", "train", "validation", "test")
DIRECTIONS = {
    "upright": np.eye(3),
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "turned": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "oblique": np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]),
}


def draw_volume(path: Path, seed: int, direction: np.ndarray | None = None) -> None:
    """60 mm of noise at 2.5 mm, whose middle is at (5, 6, 7) mm."""
    voxels = np.random.default_rng(seed).integers(-1000, 400, (24, 24, 24)).astype(np.int16)
    image = sitk.GetImageFromArray(voxels)
    direction = np.eye(3) if direction is None else direction
    image.SetSpacing((2.5, 2.5, 2.5))
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin((np.array([5.0, 6, 7]) - direction @ np.full(3, 2.5 * 11.5)).tolist())
    sitk.WriteImage(image, str(path))


def draw_volumes(root: Path, suffix: str = ".nii.gz") -> Path:
    """Four patients, a crop of either class each."""
    root.mkdir(parents=True, exist_ok=True)
    lines = ["path,patient,label,x_mm,y_mm,z_mm,split"]
    for number, (name, direction) in enumerate(DIRECTIONS.items()):
        draw_volume(root / f"{name}{suffix}", number, direction)
        for label in (0, 1):
            lines.append(f"{name}{suffix},P{number},{label},{3 + 4 * label},6,7,{SPLITS[number]}")
    (root / "scans.csv").write_text("\n".join(lines) + "\n")
    return root / "scans.csv"


def draw_images(root: Path, suffix: str = ".png", channels: int = 3, num: int = 8) -> Path:
    """Images of 32×32 pixels without mm, two a patient."""
    root.mkdir(parents=True, exist_ok=True)
    lines = ["path,patient,label,split"]
    for number in range(num):
        shape = (32, 32, 3) if channels == 3 else (32, 32)
        pixels = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number}{suffix}")
        split = SPLITS[number // 2 % 4]
        lines.append(f"{number}{suffix},P{number // 2},{number % 2},{split}")
    (root / "scans.csv").write_text("\n".join(lines) + "\n")
    return root / "scans.csv"


class TableTest(DrawnSource, tfds.testing.DatasetBuilderTestCase):
    """Tests table; its dummy data are drawn here."""

    DATASET_CLASS = Builder
    SPLITS = {"train": 4, "validation": 2, "test": 2}  # noqa: RUF012

    @staticmethod
    def draw(folder):
        draw_volumes(folder)
        return folder

    def _make_builder(self, config=None):
        return Builder(
            data_dir=self.tmp_dir,
            config="5mm",
            source=self.EXAMPLE_DIR / "scans.csv",
            ladder=[2.5, 5.0],
        )


def everything(builder: tfds.core.DatasetBuilder) -> dict[str, dict[str, dict]]:
    return {
        split: {e["id"].decode(): e for e in tfds.as_numpy(builder.as_dataset(split))}
        for split in builder.info.splits
    }


@pytest.mark.parametrize("suffix", [".nii.gz", ".mhd", ".nrrd"])
def test_the_same_ids_centres_and_splits_at_every_resolution(tmp_path: Path, suffix: str):
    source = draw_volumes(tmp_path / "in", suffix)
    builders = build(source, tmp_path / "data", num_workers=1, field_mm=40)
    assert [b.builder_config.resolution for b in builders] == [2.5, 5.0]
    fine, coarse = (everything(builder) for builder in builders)
    assert {split: len(of) for split, of in fine.items()} == TableTest.SPLITS
    for split, of in fine.items():
        assert of.keys() == coarse[split].keys()
        for name, example in of.items():
            other = coarse[split][name]
            assert example["image"].shape == (16, 16, 16, 1)
            assert other["image"].shape == (8, 8, 8, 1)
            assert example["image"].dtype == np.int16
            for key in ("label", "patient", "centre_mm"):
                np.testing.assert_array_equal(example[key], other[key])
    description = tfds_builders.built_description("table", tmp_path / "data")
    assert (description["field_extent"], description["resolutions"]) == (40.0, [2.5, 5.0])
    assert description["spatial_dims"] == 3
    assert description["label_at_centre"]
    low, high = description["intensity_window"]
    assert -1200 < low < high < 600  # the kernel overshoots the noise a little
    metadata = builders[0].info.metadata
    assert metadata["source"] == str(source)
    assert metadata["source_digest"] == check(source).digest
    assert not (tmp_path / "data" / ".crops").exists()
    # What was found at first holds for later: no option, and any of the resolutions.
    assert build(source, tmp_path / "data", [5.0])[0].is_built()
    with pytest.raises(DatasetError, match="field_mm = 40, not 30"):
        build(source, tmp_path / "data", field_mm=30)
    with pytest.raises(DatasetError, match=r"was built for 2\.5, 5 mm, not 10 mm"):
        build(source, tmp_path / "data", [10.0])


def test_a_flipped_and_a_turned_image_give_the_same_crop(tmp_path: Path):
    """One voxel, bright, at one physical place: it is at the same place in every crop."""
    lines = ["path,patient,label,x_mm,y_mm,z_mm,split"]
    for number, (name, direction) in enumerate(DIRECTIONS.items()):
        draw_volume(tmp_path / "zero.mhd", 0, direction)
        image = sitk.ReadImage(str(tmp_path / "zero.mhd")) * 0
        index = image.TransformPhysicalPointToIndex((15.0, 6.0, 2.0))
        image[index] = 1000
        sitk.WriteImage(image, str(tmp_path / f"{name}.mha"))
        for label in (0, 1):
            lines.append(f"{name}.mha,P{number},{label},5,6,{7 - label},{SPLITS[number]}")
    (tmp_path / "scans.csv").write_text("\n".join(lines))
    cases = preview(tmp_path / "scans.csv", 8, field_mm=40, resolutions=[2.5])
    peaks = [np.unravel_index(case.crops["2.5mm"].argmax(), (16, 16, 16, 1)) for case in cases]
    assert len(peaks) == 8
    assert np.ptp(np.array(peaks), axis=0).max() <= 1
    assert abs(peaks[0][2] - 11.5) <= 1  # x: 10 mm to the left of the patient


@pytest.mark.parametrize(("suffix", "channels"), [(".png", 3), (".tif", 3), (".png", 1)])
def test_whole_images_keep_their_pixels(tmp_path: Path, suffix: str, channels: int):
    source = draw_images(tmp_path / "in", suffix, channels)
    builders = build(source, tmp_path / "data", num_workers=1, spacing_mm=0.00097)
    names = [builder.builder_config.name for builder in builders]
    assert names == ["0.00097mm", "0.00194mm", "0.00388mm"]
    fine, coarse, _ = builders
    found = sorted(e["image"].tobytes() for of in everything(fine).values() for e in of.values())
    paths = (tmp_path / "in").glob(f"*{suffix}")
    assert found == sorted(np.array(Image.open(path)).tobytes() for path in paths)
    shapes = {e["image"].shape for of in everything(coarse).values() for e in of.values()}
    assert shapes == {(16, 16, channels)}
    description = tfds_builders.built_description("table", tmp_path / "data")
    assert description["intensity_window"] == [0.0, 255.0]
    assert description["num_channels"] == channels
    assert not description["label_at_centre"]
    plain = tfds.load("table/0.00194mm", data_dir=tmp_path / "data", split="test")
    assert len(plain) == 2


def test_a_dicom_slice_is_2d_and_a_series_folder_3d(tmp_path: Path):
    lines = ["path,patient,label,split"]
    for number in range(8):
        slice_ = sitk.GetImageFromArray(
            np.random.default_rng(number).integers(0, 900, (1, 24, 24)).astype(np.int16)
        )
        slice_.SetSpacing((0.5, 0.5, 1.0))
        sitk.WriteImage(slice_, str(tmp_path / f"{number}.dcm"))
        lines.append(f"{number}.dcm,P{number // 2},{number % 2},{SPLITS[number // 2]}")
    (tmp_path / "scans.csv").write_text("\n".join(lines))
    report = check(tmp_path / "scans.csv")
    assert report.problems == []
    assert "2D grey images as int16, a field of 12 mm" in report.layout


def test_images_of_several_sizes_need_a_field(tmp_path: Path):
    source = draw_images(tmp_path, ".png", 3)
    Image.fromarray(np.zeros((40, 32, 3), np.uint8)).save(tmp_path / "0.png")
    (problem,) = check(source, spacing_mm=0.5).problems
    assert "16 to 20 mm long; state field_mm" in problem
    report = check(source, spacing_mm=0.5, field_mm=20)
    assert report.problems == []
    # All but the one of 20 × 16 mm are 16 mm wide.
    assert any("8 of 8 crops reach beyond their image" in warning for warning in report.warnings)
    report = check(source, spacing_mm=0.5, field_mm=16)
    assert not any("reach beyond their image" in warning for warning in report.warnings)


def test_it_says_how_long_a_build_takes(tmp_path: Path):
    few, many = (draw_images(tmp_path / str(num), num=num) for num in (8, 80))
    seconds = [check(source, spacing_mm=0.5).build_core_seconds for source in (few, many)]
    assert 0 < seconds[0] < 5
    assert seconds[1] == pytest.approx(10 * seconds[0])
    assert "time of a build at all resolutions: about" in str(check(few, spacing_mm=0.5))
    one = check(few, spacing_mm=0.5, resolutions=[0.5])
    assert one.build_core_seconds < seconds[0]
    assert check(few).build_core_seconds == 0  # without a spacing there is nothing to build


def test_threads_are_limited_once_a_file_and_not_once_a_crop(tmp_path: Path, monkeypatch):
    """It takes as long as a small crop."""
    times = []
    limited = crops.threadpool_limits

    def counting(*of, **kinds):
        times.append(of)
        return limited(*of, **kinds)

    monkeypatch.setattr(crops, "threadpool_limits", counting)
    build(draw_images(tmp_path / "in", num=24), tmp_path / "out", spacing_mm=0.5, num_workers=1)
    assert len(times) == 3  # a file of crops for each split


def with_kinds(source: Path, kinds: Sequence[str]) -> None:
    first, *rows = source.read_text().splitlines()
    rows = [f"{row},{kind}" for row, kind in zip(rows, kinds, strict=True)]
    source.write_text("\n".join([f"{first},kind", *rows]) + "\n")


def labels_and_kinds(builder: Builder) -> list[tuple[int, str]]:
    examples = [e for split in everything(builder).values() for e in split.values()]
    name_of = builder.info.features["kind"].int2str
    return sorted((int(e["label"]), name_of(e["kind"])) for e in examples)


def test_the_kind_of_a_case_is_kept_at_every_resolution(tmp_path: Path):
    source = draw_volumes(tmp_path / "in")
    kinds = ["sharp kernel", "soft kernel"] * 4
    with_kinds(source, kinds)
    assert "of the kinds sharp kernel, soft kernel" in str(check(source))
    for builder in build(source, tmp_path / "data", num_workers=1):
        assert labels_and_kinds(builder) == sorted(zip([0, 1] * 4, kinds, strict=True))
    # A later build opens what is there.
    assert build(source, tmp_path / "data", [5.0])[0].is_built()


def test_a_kind_may_be_of_positive_cases_alone(tmp_path: Path):
    source = draw_volumes(tmp_path / "in")
    with_kinds(source, ["", "solid", "", "part-solid"] * 2)
    assert str(check(source)).count("of the kinds part-solid, solid\n") == 1
    (builder,) = build(source, tmp_path / "data", [5.0], num_workers=1)
    of_lesions = [(1, "part-solid"), (1, "solid")]
    assert labels_and_kinds(builder) == sorted([(0, NO_WORD)] * 4 + of_lesions * 2)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (["A", "", *["B"] * 6], r"a kind in each row, or in each .* not so for '' \(line 3\)"),
        (["", "A", "", "(none)"] * 2, r"expected another word, not so for '\(none\)'"),
        (["", "A"] * 3 + ["", ""], r"each of label 1 and none of label 0, .* '' \(line 9\)"),
        (["", "A"] * 3 + ["A", "A"], r"in each of label 1 and none of label 0, .* \(line 2\)"),
        ([f"case {number}" for number in range(16)], "at most 12 kinds, found 16, such as case 0"),
    ],
)
def test_kinds_that_are_missing_or_too_many_are_told(tmp_path: Path, kinds, message: str):
    source = draw_volumes(tmp_path) if len(kinds) == 8 else draw_images(tmp_path, num=16)
    with_kinds(source, kinds)
    assert re.search(message, "\n".join(check(source, spacing_mm=0.5).problems))


def edit(old: str, new: str) -> Callable[[Path], None]:
    def change(source: Path) -> None:
        text = source.read_text()
        assert old in text
        source.write_text(text.replace(old, new, 1))

    return change


def cut_short(source: Path) -> None:
    path = source.parent / "upright.nii.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def two_dimensional(source: Path) -> None:
    Image.fromarray(np.zeros((24, 24), np.uint8)).save(source.parent / "flat.png")
    edit("upright.nii.gz,P0,0,3,6,7,train", "flat.png,P0,0,3,6,7,train")(source)


def micrometres(source: Path) -> None:
    path = source.parent / "upright.nii.gz"
    image = sitk.ReadImage(str(path))
    image.SetSpacing((2500, 2500, 2500))
    sitk.WriteImage(image, str(path))


FIRST = "upright.nii.gz,P0,0,3,6,7,train"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (edit("patient", "person"), "line 1: .* missing: patient"),
        (edit("upright.nii.gz", "absent.nii.gz"), r"1 images .* are missing, the first .*absent"),
        (edit(FIRST, FIRST.replace(",0,", ",2,")), r"label of 0 or 1, not so for '2' \(line 2\)"),
        (edit(FIRST, FIRST.replace(",3,6,", ",nan,6,")), "line 2: expected a finite number for x_"),
        (edit(FIRST, FIRST.replace(",3,6,", ",300,6,")), r"1 of 8 centres lie outside .*lines 2"),
        (edit(FIRST, f"{FIRST}\n{FIRST}"), "line 3: the same image and centre as in line 2,"),
        (edit(FIRST, f"{FIRST}\n{FIRST.replace(',0,', ',1,')}"), "with another label"),
        (edit(FIRST, FIRST.replace("train", "test")), r"P0 is in several splits \(test, train\)"),
        (edit(FIRST, FIRST.replace("train", "dev")), "expected a split of train, validation, test"),
        (edit(FIRST, FIRST.replace("P0", "")), "expected a patient in each row or none"),
        (edit("oblique.nii.gz,P3,1", "oblique.nii.gz,P3,0"), "the test split has 2 negative and 0"),
        (edit("x_mm,y_mm,z_mm", "x_mm,y_mm,zz"), "the images are 3D, and the centres have 2"),
        (two_dimensional, "do not say how large a pixel is"),
        (micrometres, "2500 mm a pixel cannot be.* 2.5 mm"),
    ],
)
def test_bad_input_is_told_and_nothing_is_built(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
):
    source = draw_volumes(tmp_path / "in")
    spoil(source)
    assert check(source).problems
    with pytest.raises(SourceError, match=message):
        build(source, tmp_path / "data", num_workers=1)
    assert not (tmp_path / "data").exists()


def test_an_image_that_is_cut_short_leaves_nothing_half_built(tmp_path: Path):
    source = draw_volumes(tmp_path / "in")
    cut_short(source)
    with pytest.raises(ImageError, match=r"upright\.nii\.gz: is damaged or cut short"):
        build(source, tmp_path / "data", num_workers=1)
    assert not list((tmp_path / "data").glob("table/**/*.*"))


def test_mixtures_of_dimensions_and_of_channels_are_refused(tmp_path: Path):
    source = draw_volumes(tmp_path / "in")
    two_dimensional(source)
    problems = "\n".join(check(source, spacing_mm=2.5).problems)
    assert "alike in spatial dimensions, found" in problems
    source = draw_images(tmp_path / "images")
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "images" / "0.png")
    problems = "\n".join(check(source, spacing_mm=0.5).problems)
    assert "alike in channels, found 1 of grey values" in problems
    Image.fromarray(np.zeros((32, 32, 4), np.uint8)).save(tmp_path / "images" / "0.png")
    assert "without transparency" in "\n".join(check(source, spacing_mm=0.5).problems)


def test_one_class_and_repeated_ids_are_refused(tmp_path: Path):
    source = draw_images(tmp_path)
    lines = source.read_text().splitlines()
    source.write_text("\n".join([lines[0], *(line.replace(",1,", ",0,") for line in lines[1:])]))
    (problem,) = check(source, spacing_mm=0.5).problems
    assert "every row has label 0" in problem
    source.write_text("\n".join([f"{lines[0]},id", *(f"{line},same" for line in lines[1:])]))
    assert "expected each id once" in "\n".join(check(source, spacing_mm=0.5).problems)


@pytest.mark.parametrize(
    ("centre", "guess"),
    [
        ("-5,-6,7", ""),
        ("-30,-30,7", "As RAS coordinates"),
        ("5000,6000,7000", "As micrometres"),
        ("2,40,35", "No change"),
    ],
)
def test_a_centre_outside_comes_with_a_guess(tmp_path: Path, centre: str, guess: str):
    draw_volume(tmp_path / "a.nii", 0)
    table = f"path,patient,label,x_mm,y_mm,z_mm\na.nii,P,1,{centre}\na.nii,P,0,5,6,7\n"
    (tmp_path / "scans.csv").write_text(table)
    problems = [p for p in check(tmp_path / "scans.csv").problems if "lie outside" in p]
    assert bool(problems) == bool(guess)
    assert guess in "\n".join(problems)


def test_a_csv_from_windows_and_absolute_paths_are_read(tmp_path: Path):
    source = draw_volumes(tmp_path / "in")
    text = source.read_text().replace("upright", str(tmp_path / "in" / "upright"))
    source.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert check(source).problems == []


def test_patients_without_a_split_stay_together_and_unknown_ones_are_said(tmp_path: Path):
    source = draw_images(tmp_path, num=80)
    rows = [line.rsplit(",", 1)[0] for line in source.read_text().splitlines()]
    source.write_text("\n".join(rows))
    (builder,) = build(source, tmp_path / "data", [1.0], spacing_mm=0.5, num_workers=1)
    patients = {
        split: {e["patient"] for e in of.values()} for split, of in everything(builder).items()
    }
    assert sum(map(len, patients.values())) == len(set.union(*patients.values())) == 40
    source.write_text("\n".join(",".join([r.split(",")[0], *["", r[-1]]]) for r in rows[1:]))
    source.write_text("path,patient,label\n" + source.read_text())
    report = check(source, spacing_mm=0.5)
    assert any("patients are not given" in warning for warning in report.warnings)


def test_another_source_and_an_unfinished_phantom_are_refused(tmp_path: Path):
    source = draw_volumes(tmp_path / "in")
    build(source, tmp_path / "data", [5.0], num_workers=1)
    draw_volume(tmp_path / "in" / "upright.nii.gz", 99)
    with pytest.raises(DatasetError, match="digest"):
        tfds_builders.open_config("table", 5.0, tmp_path / "data", source=source)
    (tmp_path / "in" / "PHANTOM.json").write_text('{"complete": false}')
    with pytest.raises(SourceError, match="the phantom is not finished"):
        build(source, tmp_path / "other", [5.0], num_workers=1)
    with pytest.raises(DatasetError, match="table is not built"):
        tfds_builders.built_description("table", tmp_path / "other")


if __name__ == "__main__":
    tfds.testing.test_main()
