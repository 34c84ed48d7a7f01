"""Writes a phantom in the file layout of VinDr-Mammo: one table, and four images an exam."""

import csv
import io
from functools import partial
from pathlib import Path

import numpy as np

from mlp_med.errors import SourceError
from mlp_med.phantoms.breast_lesions import KINDS, draw_diameter
from mlp_med.phantoms.cbis_ddsm_crops import DENSITY_COUNTS
from mlp_med.phantoms.dicom_radiograph import drawn_uid, write_radiograph
from mlp_med.phantoms.mammogram import FilmPlan, render_film
from mlp_med.phantoms.parenchyma import PIXEL_MM
from mlp_med.phantoms.release import Progress, Release, num_bytes, write_release, write_whole

PHANTOM_VERSION = 1
TABLE = "breast-level_annotations.csv"
FEWEST_EXAMS = 20
LARGEST_EXAM_BYTES = 14_000_000
TEST_EVERY = 4
BINNING = 2  # drawn pixels an image's pixel, along each axis
BITS = 12
SHARE_SUSPICIOUS = 0.4  # of the exams; far more than in screening
BENIGN_SHARE = 0.3  # of the other breasts that hold something benign
SIDES, VIEWS = "LR", ("CC", "MLO")
HEADER = (
    "study_id,series_id,laterality,view_position,image_id,height,width,breast_birads,"
    "breast_density,split"
)
DEPARTURES = [
    "four of ten exams are BI-RADS 3 to 5; one of twenty is in VinDr-Mammo",
    "BI-RADS follows the drawn lesion without error: none is 1, a benign one 2, a malignant one 4; "
    "readers err, and use 3 and 5 as well",
    "a suspicious breast holds one lesion, in both views; a breast is 62 to 80 mm deep",
    "one detector for all, of 0.087 mm a pixel and 12 bits",
    "tissue is stationary noise with a power-law spectrum: no ducts, no lobes, no nipple",
]


def write_breast_screening(
    out: Path | str,
    *,
    num_exams: int,
    seed: int,
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, object]:
    """Writes `num_exams` exams of four views with their table into the directory `out`.

    An exam depends on the seed and its number alone. Every other exam is stored as MONOCHROME1.

    Args:
        out: made if absent; else empty, or this very phantom.
        num_exams: at least 20; an exam takes 10 to 14 MB.
        seed: 0 or more.
        num_workers: processes, at least 1; None: one for each core.
        progress: called as progress(exams done, num_exams).

    Returns:
        What PHANTOM.json says.

    Raises:
        SourceError: a number out of its range, `out` holds something else, or the disk is full.
    """
    out = Path(out)
    if num_exams < FEWEST_EXAMS or seed < 0 or (num_workers is not None and num_workers < 1):
        raise SourceError(
            f"a phantom of exams needs num_exams ≥ {FEWEST_EXAMS}, seed ≥ 0 and num_workers ≥ 1; "
            f"got {num_exams}, {seed} and {num_workers}"
        )
    release = Release(
        identity={
            "name": "breast_screening",
            "version": PHANTOM_VERSION,
            "seed": seed,
            "num_exams": num_exams,
        },
        departures=DEPARTURES,
        folders=["images"],
        scan_files=["images/*/*.dicom"],
        scan_bytes=LARGEST_EXAM_BYTES,
        num_scans=num_exams,
        draw=partial(_write_exam, out, seed),
        finish=_finish,
    )
    return write_release(out, release, num_workers, progress)


def plan_exam(seed: int, number: int) -> list[FilmPlan]:
    """The films of an exam: left CC and MLO, right CC and MLO. A lesion shows in both views."""
    rng = np.random.default_rng([seed, number])
    density = int(rng.choice(list(DENSITY_COUNTS), p=list(DENSITY_COUNTS.values())))
    suspicious_side = int(rng.integers(2)) if rng.uniform() < SHARE_SUSPICIOUS else None
    plans = []
    for side in range(2):
        malignant = side == suspicious_side
        kind = str(rng.choice(KINDS)) if malignant or rng.uniform() < BENIGN_SHARE else ""
        diameter_mm = draw_diameter(rng, kind or KINDS[0])
        plans += [
            FilmPlan(
                seed=(seed, number, side, v),
                view=view,
                right=SIDES[side] == "R",
                density=density,
                kind=kind,
                malignant=malignant,
                diameter_mm=diameter_mm,
            )
            for v, view in enumerate(VIEWS)
        ]
    return plans


def birads_of(plan: FilmPlan) -> int:
    """1 for nothing, 2 for a benign lesion, 4 for a malignant one."""
    return 4 if plan.malignant else 2 if plan.kind else 1


def _write_exam(out: Path, seed: int, number: int) -> list[list[object]]:
    """Writes the images of one exam unless they are there; the rows of the table."""
    study = drawn_uid(seed, number, "exam").rpartition(".")[2][:32]
    split = "test" if number % TEST_EVERY == TEST_EVERY - 1 else "training"
    rows: list[list[object]] = []
    for plan in plan_exam(seed, number):
        image = drawn_uid(*plan.seed, "image").rpartition(".")[2][:32]
        path = out / "images" / study / f"{image}.dicom"
        film = None if path.is_file() else _detected(render_film(plan).pixels)
        if film is not None:
            _write_image(path, film, plan, inverted=number % 2 == 1)
        rows.append(
            [
                *[study, study, SIDES[plan.right], plan.view, image, "", ""],
                *[birads_of(plan), plan.density, split],
            ]
        )
    return rows


def _detected(pixels: np.ndarray) -> np.ndarray:
    """The film as a detector of larger pixels sees it, uint16 of 12 bits."""
    rows, columns = (length // BINNING for length in pixels.shape)
    whole = pixels[: rows * BINNING, : columns * BINNING].astype(np.float32)
    means = whole.reshape(rows, BINNING, columns, BINNING).mean(axis=(1, 3))
    return np.rint(means / 65_535 * ((1 << BITS) - 1)).astype(np.uint16)


def _write_image(path: Path, pixels: np.ndarray, plan: FilmPlan, *, inverted: bool) -> None:
    spacing = f"{PIXEL_MM * BINNING:g}"
    write_radiograph(
        path,
        ((1 << BITS) - 1 - pixels).astype(np.uint16) if inverted else pixels,
        SOPInstanceUID=drawn_uid(*plan.seed, "image"),
        StudyInstanceUID=drawn_uid(*plan.seed[:2], "study"),
        SeriesInstanceUID=drawn_uid(*plan.seed[:2], "series"),
        PhotometricInterpretation="MONOCHROME1" if inverted else "MONOCHROME2",
        BitsStored=BITS,
        HighBit=BITS - 1,
        Modality="MG",
        BodyPartExamined="BREAST",
        ImageLaterality=SIDES[plan.right],
        ViewPosition=plan.view,
        ImagerPixelSpacing=[spacing, spacing],
    )


def _finish(out: Path, drawn: list[list[list[object]]]) -> dict[str, object]:
    """Writes the table; what PHANTOM.json says of it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER.split(","))
    suspicious = 0
    for exam in drawn:
        suspicious += max(int(str(row[7])) for row in exam) >= 3
        for *start, birads, density, split in exam:
            letter = "ABCD"[int(str(density)) - 1]
            writer.writerow([*start, f"BI-RADS {birads}", f"DENSITY {letter}", split])
    write_whole(out / TABLE, text.getvalue())
    return {
        "num_suspicious": suspicious,
        "num_bytes": num_bytes(out, ["images/*/*.dicom"]),
    }
