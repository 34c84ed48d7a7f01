"""A tiny release in CBIS-DDSM's layout: narrow films of noise with disks whose places are known."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlp_med.phantoms.dicom_radiograph import drawn_uid, write_radiograph
from tfds_builders.cbis_ddsm_crops.survey import split_of

PIXEL_MM = 0.0435
ROWS, COLUMNS = 2900, 500  # 126 × 22 mm
TISSUE, LESION = 20_000, 50_000
HEADERS = {
    "mass": ["breast_density", "mass shape", "mass margins"],
    "calcification": ["breast density", "calc type", "calc distribution"],
}


@dataclass(frozen=True)
class Case:
    """A lesion of the tables, its disk at (x, y) in mm of the film."""

    patient: str
    kind: str = "mass"
    official: str = "train"
    pathology: str = "MALIGNANT"
    side: str = "LEFT"
    view: str = "CC"
    number: int = 1
    centre_mm: tuple[float, float] = (10.0, 30.0)
    diameter_mm: float = 8.0
    exchanged: bool = False  # the table's columns of mask and cropped image
    film: dict[str, object] = field(default_factory=dict, hash=False)  # DICOM elements

    @property
    def folder(self) -> str:
        """Of the mammogram."""
        kind = {"mass": "Mass", "calcification": "Calc"}[self.kind]
        official = {"train": "Training", "test": "Test"}[self.official]
        return f"{kind}-{official}_{self.patient}_{self.side}_{self.view}"

    @property
    def id(self) -> str:
        """Of the lesion in the dataset."""
        return f"{self.kind}_{self.patient}_{self.side}_{self.view}_{self.number}"

    @property
    def table(self) -> str:
        """Its file."""
        return f"{self.folder[:4].lower()}_case_description_{self.official}_set.csv"

    def paths(self) -> tuple[str, str, str]:
        """Mammogram, mask and cropped image below the root."""
        film = [self.folder, drawn_uid(self.folder, 1), drawn_uid(self.folder, 2), "000000.dcm"]
        roi = [f"{self.folder}_{self.number}", drawn_uid(self.id, 1), drawn_uid(self.id, 2)]
        first, second = "/".join([*roi, "000000.dcm"]), "/".join([*roi, "000001.dcm"])
        mask, crop = (second, first) if self.kind == "mass" else (first, second)
        return "/".join(film), mask, crop


def patients_of(split: str, number: int) -> list[str]:
    """Names of training patients that the hash puts into a split."""
    names = (f"P_{n:05d}" for n in range(1, 1000))
    return [name for name in names if split_of(name, "train") == split][:number]


def all_cases() -> list[Case]:
    """14 lesions of 11 patients, in all four tables and all splits."""
    train, validation = patients_of("train", 5), patients_of("validation", 2)
    benign = "BENIGN_WITHOUT_CALLBACK"
    return [
        Case(train[0]),
        Case(train[0], view="MLO", centre_mm=(12.3, 90.0), diameter_mm=12),
        Case(train[1], kind="calcification", pathology="BENIGN"),
        # Two in one film.
        Case(train[2], centre_mm=(8.0, 25.0)),
        Case(train[2], number=2, centre_mm=(14.0, 35.0), diameter_mm=4, pathology="BENIGN"),
        # Two kinds in the same view, each with a film of its own.
        Case(train[3], side="RIGHT", pathology=benign),
        Case(train[3], "calcification", side="RIGHT", centre_mm=(9.0, 40.0), exchanged=True),
        Case(train[4], kind="calcification", centre_mm=(11.0, 88.0)),
        Case(validation[0]),
        Case(validation[1], kind="calcification", pathology=benign),
        Case("P_02001", official="test"),
        Case("P_02002", official="test", pathology="BENIGN", centre_mm=(10.0, 80.0)),
        # Tested for a mass, so its calcification leaves training.
        Case("P_02003", official="test"),
        Case("P_02003", kind="calcification", centre_mm=(10.0, 45.0)),
    ]


def draw_release(root: Path, cases: list[Case] | None = None) -> Path:
    """Writes films, masks, cropped images and tables."""
    cases = all_cases() if cases is None else cases
    for folder in sorted({case.folder for case in cases}):
        shown = [case for case in cases if case.folder == folder]
        _draw_film(root, shown)
        for case in shown:
            _draw_roi(root, case)
    write_tables(root, cases)
    return root


def write_tables(root: Path, cases: list[Case]) -> None:
    """The four tables; where a path comes second in its folder, it ends with a line break."""
    for name, kind, official in [
        ("mass_case_description_train_set.csv", "mass", "train"),
        ("mass_case_description_test_set.csv", "mass", "test"),
        ("calc_case_description_train_set.csv", "calcification", "train"),
        ("calc_case_description_test_set.csv", "calcification", "test"),
    ]:
        density, *appearance = HEADERS[kind]
        with (root / name).open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(
                [
                    *["patient_id", density, "left or right breast", "image view"],
                    *["abnormality id", "abnormality type", *appearance, "assessment"],
                    *["pathology", "subtlety", "image file path", "cropped image file path"],
                    "ROI mask file path",
                ]
            )
            for case in cases:
                if (case.kind, case.official) == (kind, official):
                    writer.writerow(_row(case))


def disk(case: Case) -> np.ndarray:
    """bool [ROWS, COLUMNS]: the lesion."""
    x, y = ((np.arange(length) * PIXEL_MM) for length in (COLUMNS, ROWS))
    distance = np.hypot(x[None] - case.centre_mm[0], y[:, None] - case.centre_mm[1])
    return distance <= case.diameter_mm / 2


def _row(case: Case) -> list[object]:
    film, mask, crop = case.paths()
    if case.exchanged:
        mask, crop = crop, mask
    paths = [path + "\n" * path.endswith("000001.dcm") for path in (film, crop, mask)]
    return [
        *[case.patient, 3, case.side, case.view, case.number, case.kind, "OVAL", "N/A"],
        *[4, case.pathology, 5, *paths],
    ]


def _draw_film(root: Path, cases: list[Case]) -> None:
    rng = np.random.default_rng(len(cases[0].folder) + int(cases[0].patient[2:]))
    coarse = rng.normal(TISSUE, 600, (ROWS // 100, COLUMNS // 100))
    pixels = np.kron(coarse, np.ones((100, 100))).astype(np.uint16)
    pixels[:70], pixels[-70:] = 500, 500  # air above and below
    for case in cases:
        pixels[disk(case)] = LESION
    path = cases[0].paths()[0]
    write_radiograph(root / path, pixels, **_elements(path), **cases[0].film)


def _draw_roi(root: Path, case: Case) -> None:
    _, mask, crop = case.paths()
    shown = disk(case)
    write_radiograph(root / mask, shown.astype(np.uint8) * np.uint8(255), **_elements(mask))
    cropped = np.full((150, 140), LESION, np.uint16)
    write_radiograph(root / crop, cropped, **_elements(crop))


def _elements(path: str) -> dict[str, object]:
    folder, study, series, _ = path.split("/")
    return {
        "SOPInstanceUID": drawn_uid(path),
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "PatientID": folder,
        "Modality": "MG",
        "BodyPartExamined": "BREAST",
    }
