"""The whole-chest phantom: its layout, and that nothing but one place tells the classes apart."""

import json
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from threadpoolctl import threadpool_limits

from mlp_med.errors import SourceError
from mlp_med.imaging.dicom_series import read_series, read_series_header
from mlp_med.imaging.lungs import lung_centre
from mlp_med.phantoms.dsb2017 import patient_name, write_dsb2017, write_slices
from mlp_med.phantoms.whole_chest import (
    DIAMETER_RANGE_MM,
    NUM_SITES,
    ChestPlan,
    first_voxel_mm,
    has_cancer,
    plan_chest,
    voxel_mm,
)

SEED = 5
NUM_PAIRS = 2
LUNG_HU = -500


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[bool, tuple]]:
    """The same chests without and with cancer: by that plan, voxels and folder of slices."""
    pairs = []
    with threadpool_limits(1):
        for number in range(NUM_PAIRS):
            pair = {}
            for cancer in (False, True):
                folder = tmp_path_factory.mktemp("slices")
                plan = plan_chest(SEED, number, cancer)
                pair[cancer] = (plan, write_slices(folder, "name", plan), folder)
            pairs.append(pair)
    return pairs


def distances_mm(plan: ChestPlan, shape: tuple[int, ...]) -> np.ndarray:
    """Of every voxel [z, y, x] to the decisive place."""
    indices = np.indices(shape)[::-1]
    spacing, first = voxel_mm(plan), first_voxel_mm(plan)
    squares = [
        (index * spacing[axis] + first[axis] - plan.decisive.centre_mm[axis]) ** 2
        for axis, index in enumerate(indices)
    ]
    return np.sqrt(sum(squares))


def test_a_scan_with_cancer_is_another_about_one_place_alone(pairs):
    for pair in pairs:
        (plan, without, _), (_, with_cancer, _) = pair[False], pair[True]
        changed = with_cancer != without
        assert changed.any()
        distances = distances_mm(plan, without.shape)
        # Vessels lead away from either, up to about 70 mm.
        assert distances[changed].max() < 90
        core = distances < 0.3 * plan.decisive.diameter_mm
        assert with_cancer[core].mean() > LUNG_HU


def test_the_place_that_tells_has_as_much_tissue_in_either_case(pairs):
    """So neither the mean of a volume nor the share of bright voxels is the answer."""
    ratios = []
    for pair in pairs:
        (plan, without, _), (_, with_cancer, _) = pair[False], pair[True]
        voxel = float(np.prod(voxel_mm(plan)))
        ball = np.pi / 6 * plan.decisive.diameter_mm**3
        difference = (with_cancer > LUNG_HU).sum() - (without > LUNG_HU).sum()
        ratios.append(float(difference) * voxel / ball)
        means = [volume.mean() for volume in (without, with_cancer)]
        assert abs(means[1] - means[0]) < 0.5  # HU
    assert abs(np.mean(ratios)) < 0.5


def test_headers_names_and_sizes_say_nothing_of_the_answer(pairs):
    for pair in pairs:
        slices = [sorted(pair[cancer][2].iterdir()) for cancer in (False, True)]
        assert [path.name for path in slices[0]] == [path.name for path in slices[1]]
        for one, other in zip(*slices, strict=True):
            assert one.stat().st_size == other.stat().st_size
            headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in (one, other)]
            assert headers[0] == headers[1]
            assert "PHANTOM" in headers[0].SeriesDescription


def test_classes_come_in_pairs_and_not_by_parity():
    answers = [has_cancer(SEED, number) for number in range(200)]
    assert all(answers[n] != answers[n + 1] for n in range(0, 200, 2))
    assert 30 < sum(answers[::2]) < 70
    assert answers != [has_cancer(SEED + 1, number) for number in range(200)]


def test_places_are_decided_before_the_answer():
    plans = [plan_chest(SEED, 0, cancer) for cancer in (False, True)]
    assert len(plans[0].sites) == NUM_SITES
    for one, other in zip(plans[0].sites, plans[1].sites, strict=True):
        assert np.array_equal(one.centre_mm, other.centre_mm)
        assert one.diameter_mm == other.diameter_mm
        low, high = DIAMETER_RANGE_MM
        assert low <= one.diameter_mm <= high


def test_written_slices_read_as_drawn_and_their_lungs_are_found(pairs):
    for pair in pairs:
        plan, voxels, folder = pair[True]
        header = read_series_header(folder)
        assert header.modality == "CT"
        volume = read_series(header)
        step = -1 if header.direction[0, 0] < 0 else 1
        assert np.array_equal(volume.voxels[:, ::step, ::step], voxels)
        centre = lung_centre(volume)
        middle = np.array(header.origin_mm) + header.direction @ (
            (np.array(header.size) - 1) / 2 * header.spacing_mm
        )
        assert centre == pytest.approx(middle, abs=25)
        assert volume.spacing_mm == pytest.approx(voxel_mm(plan))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "dsb2017"
    write_dsb2017(out, num_scans=2, seed=SEED, num_workers=1)
    return out


def test_the_layout_is_the_releases(written: Path):
    assert {path.name for path in written.iterdir()} == {
        "stage1",
        "stage1_labels.csv",
        "stage1_solution.csv",
        "PHANTOM.json",
    }
    names = [path.name for path in written.glob("stage1/*")]
    assert sorted(names) == sorted(patient_name(SEED, number) for number in range(2))
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)
    rows = (written / "stage1_labels.csv").read_text().split()
    assert rows == [
        "id,cancer",
        *sorted(f"{patient_name(SEED, n)},{int(has_cancer(SEED, n))}" for n in range(2)),
    ]
    assert (written / "stage1_solution.csv").read_text() == "id,cancer\n"
    description = json.loads((written / "PHANTOM.json").read_text())
    assert (description["complete"], description["num_with_cancer"]) == (True, 1)
    heights, files = [], sorted(written.glob("stage1/*/*.dcm"))
    for path in files[:12]:
        heights.append(pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])
    assert heights != sorted(heights)  # names are in no order of positions


def test_what_was_interrupted_is_completed_with_the_same_bytes(written: Path, tmp_path: Path):
    out = tmp_path / "again"
    (out / "stage1").mkdir(parents=True)
    marker = json.loads((written / "PHANTOM.json").read_text())
    (out / "PHANTOM.json").write_text(json.dumps({**marker, "complete": False}))
    kept, missing = (patient_name(SEED, number) for number in range(2))
    (out / "stage1" / kept).symlink_to(written / "stage1" / kept)
    (out / f".{missing}").mkdir()
    (out / f".{missing}" / "half.dcm").write_bytes(b"")
    write_dsb2017(out, num_scans=2, seed=SEED, num_workers=1)
    assert not list(out.glob(".*"))
    for path in written.glob(f"stage1/{missing}/*"):
        assert (out / "stage1" / missing / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("bad", [{"num_scans": 0}, {"seed": -1}, {"num_workers": 0}])
def test_senseless_numbers_are_refused(tmp_path: Path, bad: dict):
    with pytest.raises(SourceError, match="needs num_scans"):
        write_dsb2017(tmp_path / "out", **{"num_scans": 1, "seed": 0, **bad})
    assert not (tmp_path / "out").exists()
