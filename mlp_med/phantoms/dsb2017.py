"""Writes a phantom in the file layout of Kaggle's Data Science Bowl 2017."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np

from mlp_med.errors import SourceError
from mlp_med.phantoms.dicom_series import write_series
from mlp_med.phantoms.release import Progress, Release, num_bytes, write_release, write_whole
from mlp_med.phantoms.scan import FLIPPED_SHARE, stream
from mlp_med.phantoms.whole_chest import (
    BINNED,
    COVERAGE_MM,
    DIAMETER_RANGE_MM,
    DRAWN_PIXELS,
    NUM_SITES,
    SLICE_MM,
    VERSION,
    ChestPlan,
    drawn_digest,
    drawn_uid,
    first_voxel_mm,
    has_cancer,
    plan_chest,
    render_chest,
    voxel_mm,
)

IMAGES = "stage1"
LABELS, SOLUTION = "stage1_labels.csv", "stage1_solution.csv"
# Of every eight scans the last two, one of each class, are the official test split.
BLOCK, NUM_TEST_IN_BLOCK = 8, 2
EDGE = DRAWN_PIXELS // BINNED
SCAN_BYTES = round((COVERAGE_MM / SLICE_MM + 1) * (2 * EDGE**2 + 1_500))
DESCRIPTION = "PHANTOM, drawn, not scanned"
DEPARTURES = [
    f"half of the patients have cancer, of the release's a quarter; {NUM_TEST_IN_BLOCK} in {BLOCK} "
    "are the test, of the release's one in 8",
    "cancer is one nodule of {:g} to {:g} mm; everyone has {} such places, all others with mimics "
    "of nodules of the same volume, and nobody a benign nodule".format(
        *DIAMETER_RANGE_MM, NUM_SITES
    ),
    f"slices of {EDGE}×{EDGE} pixels, a real one has 512×512, and all {SLICE_MM:g} mm apart",
    "fewer small vessels than real lungs have",
    "one drawn scanner with a smooth and a sharp kernel; no contrast agent, calcification, "
    "emphysema, motion, metal or scanner's table",
]


def write_dsb2017(
    out: Path | str,
    *,
    num_scans: int,
    seed: int,
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, object]:
    """Writes `num_scans` patients' CT series and the two tables into the directory `out`.

    Each scan depends on the seed and its number alone. As with LUNA16's phantom, PHANTOM.json marks
    it, lists its departures from real scans, and says whether it is complete; an interrupted
    phantom is completed by the same call.

    Args:
        out: made if absent; else empty, or this very phantom.
        num_scans: at least 1; a scan takes about 15 MB.
        seed: 0 or more.
        num_workers: processes, at least 1; one for each core if None.
        progress: called as progress(scans done, num_scans).

    Returns:
        What PHANTOM.json says.

    Raises:
        SourceError: `out` holds something else, or the disk is or becomes full.
    """
    out = Path(out)
    if num_scans < 1 or seed < 0 or (num_workers is not None and num_workers < 1):
        raise SourceError(
            "a phantom needs num_scans ≥ 1, seed ≥ 0 and num_workers ≥ 1; "
            f"got {num_scans}, {seed} and {num_workers}"
        )
    release: Release[tuple[str, str]] = Release(
        identity={"name": "dsb2017", "version": VERSION, "seed": seed, "num_scans": num_scans},
        departures=DEPARTURES,
        folders=[IMAGES],
        scan_files=[f"{IMAGES}/*/*.dcm"],
        scan_bytes=SCAN_BYTES,
        num_scans=num_scans,
        draw=partial(_write_patient, out, seed),
        finish=_finish,
    )
    return write_release(out, release, num_workers, progress)


def patient_name(seed: int, number: int) -> str:
    """32 hexadecimal digits, as the release's pseudonyms are."""
    return drawn_digest(seed, number, "patient").hex()[:32]


def _write_patient(out: Path, seed: int, number: int) -> tuple[str, str]:
    """Writes a patient's folder unless it is there; the table and the row that it belongs to."""
    patient = patient_name(seed, number)
    folder = out / IMAGES / patient
    if not folder.exists():
        unfinished = out / f".{patient}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        write_slices(unfinished, patient, plan_chest(seed, number))
        unfinished.rename(folder)
    table = SOLUTION if number % BLOCK >= BLOCK - NUM_TEST_IN_BLOCK else LABELS
    return table, f"{patient},{int(has_cancer(seed, number))}"


def write_slices(folder: Path, patient: str, plan: ChestPlan) -> np.ndarray:
    """Draws a planned scan and writes its slices; returns its voxels, int16 HU [z, y, x].

    Nothing but the pixels depends on whether the patient has cancer.
    """
    seed, number = plan.seed, plan.number
    voxels = render_chest(plan)
    world = stream(seed, number, "dsb2017 world")
    x, y, z = (world.normal([-175, -170, -260], [8, 12, 60]) + first_voxel_mm(plan)).tolist()
    slices = range(len(voxels))
    write_series(
        folder,
        voxels,
        names=[f"{drawn_digest(seed, number, f'file {n}').hex()[:32]}.dcm" for n in slices],
        uids=[drawn_uid(seed, number, f"slice {n}") for n in slices],
        series_uid=drawn_uid(seed, number, "series"),
        study_uid=drawn_uid(seed, number, "study"),
        patient=patient,
        description=DESCRIPTION,
        origin_mm=(x, y, z),
        spacing_mm=voxel_mm(plan),
        flipped=bool(world.uniform() < FLIPPED_SHARE),
    )
    return voxels


def _finish(out: Path, rows: list[tuple[str, str]]) -> dict[str, object]:
    """Writes the tables; what PHANTOM.json says of them."""
    for table in (LABELS, SOLUTION):
        lines = sorted(row for of, row in rows if of == table)
        write_whole(out / table, "\n".join(["id,cancer", *lines]) + "\n")
    return {
        "num_with_cancer": sum(row.endswith(",1") for _, row in rows),
        "num_test": sum(table == SOLUTION for table, _ in rows),
        "num_bytes": num_bytes(out, [f"{IMAGES}/*/*.dcm"]),
    }
