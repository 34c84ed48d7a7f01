import json
import re
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlp_med.errors import SourceError
from mlp_med.imaging.slide import opened, read_header
from mlp_med.phantoms import camelyon16, release, slide_file
from mlp_med.phantoms.camelyon16 import (
    annotation_xml,
    slide_name,
    write_camelyon16,
)
from mlp_med.phantoms.slide_paint import paint_slide
from mlp_med.phantoms.slide_plan import (
    GLAND_SHARE,
    NUCLEOLUS_SHARE,
    PIXEL_UM,
    _in_metastasis,
    inside,
    plan_slide,
)
from tfds_builders.camelyon16 import check
from tfds_builders.camelyon16.annotations import CUT_OUT, TUMOUR, read_annotations

NUM_SLIDES, SEED = 20, 5


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> Path:
    """The phantom with blank slides of the right pixel size, so that drawing takes no time.

    In this process, since what is patched here is not patched in a worker.
    """
    folder = tmp_path_factory.mktemp("phantom")
    blanks = {um: folder / f"{um}.tif" for um in PIXEL_UM}
    for um, path in blanks.items():
        slide_file.write_slide(path, np.full((4400, 4400, 3), 230, np.uint8), um)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(camelyon16, "paint_slide", lambda plan: None)
        patch.setattr(camelyon16, "write_slide", lambda p, _, um: shutil.copy(blanks[um], p))
        patch.setattr(release, "_draw_all", draw_here)
        write_camelyon16(folder / "camelyon16", num_slides=NUM_SLIDES, seed=SEED)
    return folder / "camelyon16"


def draw_here(out, planned, num_workers, progress):
    return [planned.draw(number) for number in range(planned.num_scans)]


def digests(out: Path) -> dict[str, str]:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(p.relative_to(out)): sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_layout_is_camelyon16s_and_the_builder_finds_nothing_to_mend(quick):
    report = check(quick)
    assert report.problems == []
    assert report.phantom
    assert report.files == {"slides": NUM_SLIDES, "annotations": 10}
    assert report.candidates == {
        "train: normal slides": 6,
        "train: tumour slides": 6,
        "validation: normal slides": 1,
        "validation: tumour slides": 1,
        "test: normal slides": 3,
        "test: tumour slides": 3,
    }
    sizes = re.findall(r"(0\.\d+) \((\d+)\)", report.native)
    assert [float(size) for size, _ in sizes] == sorted(PIXEL_UM)
    description = json.loads((quick / "PHANTOM.json").read_text())
    assert description["complete"] is True
    assert description["num_tumour_slides"] == 10
    assert "no patient" in description["statement"]


def test_more_slides_keep_the_names_of_fewer_and_every_class():
    for number in (20, 33, 60, 100):
        names = [slide_name(number, n) for n in range(number)]
        assert len(set(names)) == number
        for kind in ("normal", "tumor", "test"):
            of_kind = [n for k, n, _ in names if k == kind]
            assert of_kind == list(range(1, len(of_kind) + 1))
            assert {has for k, _, has in names if k == kind} == {
                "normal": {False},
                "tumor": {True},
                "test": {False, True},
            }[kind]
    # Whether test_003 has metastases does not depend on how many slides there are.
    assert slide_name(20, 2) == slide_name(100, 2) == ("test", 3, True)


def test_outlines_in_the_file_are_those_of_the_plan(quick):
    kinds = set()
    for path in quick.glob("training/lesion_annotations/*.xml"):
        plan = plan_slide(SEED, 1, int(path.stem[-3:]), has_tumour=True)
        found = read_annotations(path)
        assert len(found.of(TUMOUR)) == len(plan.lesions) >= 1
        for outline, drawn in zip(found.of(TUMOUR), plan.lesions, strict=True):
            np.testing.assert_allclose(outline.points * plan.pixel_um, drawn, atol=0.1)
            assert inside(plan.tissue, drawn).all()
        assert len(found.of(CUT_OUT)) == len(plan.cut_outs)
        kinds |= {outline.kind for outline in found.outlines}
    assert kinds == {TUMOUR, CUT_OUT}


def test_a_slide_is_a_pyramid_whose_levels_show_the_same(tmp_path):
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 230, (5, 6, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((1301, 1003), Image.Resampling.BICUBIC))
    path = tmp_path / "slide.tif"
    slide_file.write_slide(path, image, 0.226)
    header = read_header(path)
    assert (header.size, header.vendor) == ((1301, 1003), "generic-tiff")
    assert header.pixel_um == (pytest.approx(0.226), pytest.approx(0.226))
    with opened(path) as slide:
        assert slide.level_dimensions == ((1301, 1003), (650, 501), (325, 250), (162, 125))
        for level, size in enumerate(slide.level_dimensions):
            pixels = np.asarray(slide.read_region((0, 0), level, size))[..., :3].astype(float)
            same = Image.fromarray(image).resize(size, Image.Resampling.BOX)
            assert np.abs(pixels - np.asarray(same)).mean() < 4
    assert not list(tmp_path.glob("*.unfinished"))


def test_the_same_seed_gives_the_same_slide_and_another_another(tmp_path):
    one, same, other = (plan_slide(seed, 0, 1, has_tumour=True) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.nuclei.centre_um, same.nuclei.centre_um)
    assert annotation_xml(one) == annotation_xml(same) != annotation_xml(other)
    assert len(one.nuclei.angle) != len(other.nuclei.angle)


def test_metastases_change_neither_the_tissue_nor_the_number_and_size_of_nuclei():
    for number in range(4):
        with_tumour = plan_slide(SEED, 2, number, has_tumour=True)
        without = plan_slide(SEED, 2, number, has_tumour=False)
        np.testing.assert_array_equal(with_tumour.tissue, without.tissue)
        np.testing.assert_array_equal(with_tumour.lumina, without.lumina)
        np.testing.assert_array_equal(with_tumour.nuclei.radii_um, without.nuclei.radii_um)
        np.testing.assert_array_equal(with_tumour.stain, without.stain)
        assert with_tumour.pixel_um == without.pixel_um
        assert with_tumour.texture_seed == without.texture_seed
        moved = np.hypot(*(with_tumour.nuclei.centre_um - without.nuclei.centre_um).T)
        assert 0 < (moved > 1).mean() < 0.2


def test_nucleoli_and_glands_are_more_frequent_in_metastases_and_occur_outside():
    counts = np.zeros((2, 2))
    for number in range(6):
        plan = plan_slide(SEED, 1, number, has_tumour=True)
        within = _in_metastasis(plan.nuclei.centre_um, plan.lesions, plan.cut_outs)
        for place in (False, True):
            of_place = plan.nuclei.has_nucleolus[within == place]
            counts[int(place)] += of_place.sum(), len(of_place)
    shares = counts[:, 0] / counts[:, 1]
    np.testing.assert_allclose(shares, NUCLEOLUS_SHARE, atol=0.02)
    assert 0 < GLAND_SHARE[0] < GLAND_SHARE[1] < 1


def test_bytes_do_not_depend_on_workers_and_what_is_there_stays(tmp_path, quick):
    """Real processes: all but one slide are there already."""
    outs = [tmp_path / "one", tmp_path / "two"]
    for workers, out in enumerate(outs, start=1):
        shutil.copytree(quick, out)
        marker = json.loads((out / "PHANTOM.json").read_text())
        (out / "PHANTOM.json").write_text(json.dumps({**marker, "complete": False}))
        (out / "training/tumor/tumor_003.tif").unlink()
        (out / "testing/images/test_009.tif.unfinished").write_bytes(b"left by a kill")
        calls = []
        write_camelyon16(
            out,
            num_slides=NUM_SLIDES,
            seed=SEED,
            num_workers=workers,
            progress=lambda *a, calls=calls: calls.append(a),
        )
        assert calls[-1] == (NUM_SLIDES, NUM_SLIDES)
    one, two = (digests(out) for out in outs)
    assert one == two
    before = digests(quick)
    drawn = {name for name in one if one[name] != before[name]}
    assert drawn == {"training/tumor/tumor_003.tif", "PHANTOM.json"}  # which knows the sizes
    plan = plan_slide(SEED, 1, 3, has_tumour=True)
    with opened(outs[0] / "training/tumor/tumor_003.tif") as slide:
        x, y = (int(c / plan.pixel_um) - 200 for c in plan.lesions[0].mean(axis=0))
        pixels = np.asarray(slide.read_region((x, y), 0, (400, 400)))[..., :3].astype(int)
    painted = paint_slide(plan)[y : y + 400, x : x + 400].astype(int)
    assert np.abs(pixels - painted).mean() < 6


def test_what_is_not_this_phantom_or_makes_no_sense_is_refused(quick, tmp_path, monkeypatch):
    with pytest.raises(SourceError, match="holds another phantom"):
        write_camelyon16(quick, num_slides=NUM_SLIDES, seed=SEED + 1)
    for bad in ({"num_slides": 19}, {"seed": -1}, {"num_workers": 0}):
        with pytest.raises(SourceError, match="num_slides ≥ 20"):
            write_camelyon16(tmp_path / "out", **{"num_slides": 20, "seed": 0, **bad})
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(SourceError, match=r"mlp-med\[slides\]"):
        write_camelyon16(tmp_path / "out", num_slides=20, seed=0)
    assert not (tmp_path / "out").exists()
