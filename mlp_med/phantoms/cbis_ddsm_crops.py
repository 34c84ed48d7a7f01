"""Writes a phantom in the file layout of CBIS-DDSM: four tables, and a tree of DICOM files."""

import csv
import io
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from mlp_med.errors import SourceError
from mlp_med.phantoms.breast_lesions import CALCIFICATION, KINDS, MASS, draw_diameter
from mlp_med.phantoms.dicom_radiograph import drawn_uid, write_radiograph
from mlp_med.phantoms.mammogram import FilmPlan, render_film
from mlp_med.phantoms.release import Progress, Release, num_bytes, write_release, write_whole

PHANTOM_VERSION = 1
FEWEST_PATIENTS = 10
LARGEST_PATIENT_BYTES = 70_000_000
SIDES, VIEWS = ("LEFT", "RIGHT"), ("CC", "MLO")
TEST_EVERY = 4  # every fourth patient is tested
CROSSES_AT = 6  # the seventh of each ten has a mass in training and a calcification in the test
DENSITY_COUNTS = {1: 0.17, 2: 0.39, 3: 0.30, 4: 0.14}  # about as in CBIS-DDSM's tables
CROP_MARGIN = 40  # pixels about a mask in its cropped image
APPEARANCE = {
    (MASS, False): ("OVAL", "CIRCUMSCRIBED"),
    (MASS, True): ("IRREGULAR", "SPICULATED"),
    (CALCIFICATION, False): ("PUNCTATE", "CLUSTERED"),
    (CALCIFICATION, True): ("FINE_LINEAR_BRANCHING", "CLUSTERED"),
}
COLUMNS = {
    MASS: ("breast_density", "mass shape", "mass margins"),
    CALCIFICATION: ("breast density", "calc type", "calc distribution"),
}
SHORT = {MASS: ("Mass", "mass"), CALCIFICATION: ("Calc", "calc")}
OFFICIAL = {"train": ("Training", "train"), "test": ("Test", "test")}
DEPARTURES = [
    "one film scanner for all, of 0.0435 mm a pixel; no scratches, no dust but single specks",
    "a breast is 62 to 80 mm deep and 118 to 145 mm high, small against a real one",
    "every view holds exactly one lesion, and every patient has one in each breast",
    "malignant and benign lesions have the same sizes and brightness: only their shape tells them "
    "apart, and it always does",
    "no architectural distortion, no lymph node, no skin lesion, no implant; subtlety, assessment "
    "and density are drawn without regard to the lesion",
    "tissue is stationary noise with a power-law spectrum: no ducts, no lobes, no nipple",
]


@dataclass(frozen=True)
class CaseRow:
    """One row of one of the tables."""

    table: str
    values: tuple[str, ...]


def write_cbis_ddsm_crops(
    out: Path | str,
    *,
    num_patients: int,
    seed: int,
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, object]:
    """Writes mammograms of `num_patients` patients, both breasts in two views, with their tables.

    A patient depends on the seed and its number alone. As in the release, the files' names do not
    tell mask from cropped image, some paths end with a line break, and a few patients are in the
    training table of one kind of lesion and in the test table of the other.

    Args:
        out: made if absent; else empty, or this very phantom.
        num_patients: at least 10; a patient takes 50 to 70 MB.
        seed: 0 or more.
        num_workers: processes, at least 1; None: one for each core.
        progress: called as progress(patients done, num_patients).

    Returns:
        What PHANTOM.json says.

    Raises:
        SourceError: a number out of its range, `out` holds something else, or the disk is full.
    """
    out = Path(out)
    if num_patients < FEWEST_PATIENTS or seed < 0 or (num_workers is not None and num_workers < 1):
        raise SourceError(
            f"a phantom of mammograms needs num_patients ≥ {FEWEST_PATIENTS}, seed ≥ 0 and "
            f"num_workers ≥ 1; got {num_patients}, {seed} and {num_workers}"
        )
    release = Release(
        identity={
            "name": "cbis_ddsm_crops",
            "version": PHANTOM_VERSION,
            "seed": seed,
            "num_patients": num_patients,
        },
        departures=DEPARTURES,
        folders=["."],
        scan_files=["*/*/*/*.dcm"],
        scan_bytes=LARGEST_PATIENT_BYTES,
        num_scans=num_patients,
        draw=partial(_write_patient, out, seed),
        finish=_finish,
    )
    return write_release(out, release, num_workers, progress)


def plan_patient(seed: int, number: int) -> list[tuple[str, FilmPlan]]:
    """The official split of each lesion and the plan of its film, two views a breast."""
    rng = np.random.default_rng([seed, number])
    official = "test" if number % TEST_EVERY == TEST_EVERY - 1 else "train"
    crosses = number % 10 == CROSSES_AT
    density = int(rng.choice(list(DENSITY_COUNTS), p=list(DENSITY_COUNTS.values())))
    plans = []
    for side, kind in enumerate(rng.permutation(KINDS) if crosses else rng.choice(KINDS, 2)):
        lesion = FilmPlan(
            seed=(),
            view="",
            right=SIDES[side] == "RIGHT",
            density=density,
            kind=str(kind),
            malignant=bool(rng.integers(2)),
            diameter_mm=draw_diameter(rng, str(kind)),
        )
        split = ("train" if kind == MASS else "test") if crosses else official
        for v, view in enumerate(VIEWS):
            plans.append((split, replace(lesion, seed=(seed, number, side, v), view=view)))
    return plans


def _write_patient(out: Path, seed: int, number: int) -> list[CaseRow]:
    """Writes the films of one patient unless they are there; the rows of the tables."""
    rows = []
    rng = np.random.default_rng([seed, number, 1])
    for official, plan in plan_patient(seed, number):
        assessment, subtlety = (str(int(n)) for n in (rng.integers(2, 6), rng.integers(1, 6)))
        paths = _write_case(out, official, plan, number)
        kind = plan.kind
        values = (
            _patient(number),
            str(plan.density),
            SIDES[plan.right],
            plan.view,
            "1",
            kind,
            *APPEARANCE[kind, plan.malignant],
            assessment,
            "MALIGNANT" if plan.malignant else ("BENIGN", "BENIGN_WITHOUT_CALLBACK")[number % 2],
            subtlety,
            *paths,
        )
        rows.append(CaseRow(table_name(kind, official), values))
    return rows


def _write_case(out: Path, official: str, plan: FilmPlan, number: int) -> tuple[str, str, str]:
    """Writes mammogram, mask and cropped image; their paths as the table has them."""
    side = SIDES[plan.right]
    case = f"{SHORT[plan.kind][0]}-{OFFICIAL[official][0]}_{_patient(number)}_{side}_{plan.view}"
    film_uids = [drawn_uid(*plan.seed, case, name) for name in ("study", "series")]
    roi_uids = [drawn_uid(*plan.seed, case, name) for name in ("roi study", "roi series")]
    film_path = "/".join([case, *film_uids, "000000.dcm"])
    # The name that the table gives to each. Masses' masks come second, calcifications' first.
    crop_name, mask_name = ("000000.dcm", "000001.dcm")
    if plan.kind == CALCIFICATION:
        crop_name, mask_name = mask_name, crop_name
    folder = "/".join([f"{case}_1", *roi_uids])
    crop_path, mask_path = f"{folder}/{crop_name}", f"{folder}/{mask_name}"
    if not all((out / path).is_file() for path in (film_path, crop_path, mask_path)):
        film = render_film(plan)
        shown = np.argwhere(film.mask)
        top, left = np.maximum(shown.min(axis=0) - CROP_MARGIN, 0)
        bottom, right = shown.max(axis=0) + CROP_MARGIN
        files = {
            film_path: ("full mammogram images", film.pixels),
            mask_path: ("ROI mask images", film.mask.astype(np.uint8) * np.uint8(255)),
            crop_path: ("cropped images", film.pixels[top:bottom, left:right]),
        }
        if number % 5 == 0:  # in some cases of the release the columns are exchanged
            files[mask_path], files[crop_path] = files[crop_path], files[mask_path]
        for path, (description, pixels) in files.items():
            write_radiograph(
                out / path,
                pixels,
                SOPInstanceUID=drawn_uid(*plan.seed, path),
                StudyInstanceUID=path.split("/")[1],
                SeriesInstanceUID=path.split("/")[2],
                PatientID=path.split("/")[0],
                PatientName=path.split("/")[0],
                Modality="MG",
                BodyPartExamined="BREAST",
                SeriesDescription=description,
            )
    # The one that comes second in the table ends with a line break in the release.
    crop_path, mask_path = (
        f"{path}\n" if path.endswith("000001.dcm") else path for path in (crop_path, mask_path)
    )
    return film_path, crop_path, mask_path


def table_name(kind: str, official: str) -> str:
    """The file of a table, as the release names it."""
    return f"{SHORT[kind][1]}_case_description_{OFFICIAL[official][1]}_set.csv"


def _patient(number: int) -> str:
    return f"P_{number + 1:05d}"


def _finish(out: Path, drawn: list[list[CaseRow]]) -> dict[str, object]:
    """Writes the tables; what PHANTOM.json says of them."""
    rows = [row for patient in drawn for row in patient]
    for kind in KINDS:
        density, *appearance = COLUMNS[kind]
        header = [
            "patient_id",
            density,
            "left or right breast",
            "image view",
            "abnormality id",
            "abnormality type",
            *appearance,
            "assessment",
            "pathology",
            "subtlety",
            "image file path",
            "cropped image file path",
            "ROI mask file path",
        ]
        for official in OFFICIAL:
            name = table_name(kind, official)
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerows([header, *(row.values for row in rows if row.table == name)])
            write_whole(out / name, text.getvalue())
    return {"num_lesions": len(rows), "num_bytes": num_bytes(out, ["*/*/*/*.dcm"])}
