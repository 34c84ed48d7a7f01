"""Tiny exams in VinDr-Mammo's layout: half disks on coarse pixels, each with a bright spot."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlp_med.phantoms.dicom_radiograph import drawn_uid, write_radiograph
from tfds_builders.breast_screening.exams import TABLE, VIEWS
from tfds_builders.breast_screening.survey import split_of

PIXEL_MM = 0.5
ROWS, COLUMNS = 360, 200  # 180 × 100 mm
TISSUE, SPOT = 1500, 3500
COLUMN_NAMES = [
    "study_id",
    "series_id",
    "laterality",
    "view_position",
    "image_id",
    "height",
    "width",
    "breast_birads",
    "breast_density",
    "split",
]


@dataclass(frozen=True)
class Image:
    """One image: a half disk of radius 60 mm whose middle is at `middle_mm` from the top."""

    study: str
    laterality: str
    view: str
    birads: int = 1
    split: str = "training"
    density: str = "B"
    copy: int = 0  # of the same view
    middle_mm: float = 90.0

    @property
    def name(self) -> str:
        """Its id."""
        return f"{self.study}-{self.laterality}{self.view}-{self.copy}"

    @property
    def path(self) -> str:
        """Below the root."""
        return f"images/{self.study}/{self.name}.dicom"


def exam(study: str, left: int = 1, right: int = 1, **of) -> list[Image]:
    """The four views."""
    grades = {"L": left, "R": right}
    return [Image(study, side, view, grades[side], **of) for side, view in VIEWS]


def studies_of(split: str, number: int) -> list[str]:
    """Names of training exams that the hash puts into a split."""
    names = (f"study{n:03d}" for n in range(1000))
    return [name for name in names if split_of(name, "training") == split][:number]


def all_exams() -> list[Image]:
    """Eleven exams in three splits, every class in each."""
    train, validation = studies_of("train", 4), studies_of("validation", 3)
    return [
        *exam(train[0]),
        *exam(train[1], left=4),
        *exam(train[2], left=2, right=5, middle_mm=70.0),
        *exam(validation[0], right=3),
        *exam(validation[1], left=2, right=2),
        *exam("test000", split="test", density="D"),
        *exam("test001", left=3, right=4, split="test"),
        *exam(train[3], right=2),
        *exam(validation[2]),
        *exam("test002", left=2, split="test"),
        *exam("test003", split="test"),
    ]


def write_exams(root: Path, images: list[Image] | None = None) -> Path:
    """Images and table."""
    images = all_exams() if images is None else images
    for image in images:
        write_image(root, image)
    write_table(root, images)
    return root


def write_table(root: Path, images: list[Image]) -> None:
    """`breast-level_annotations.csv`."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / TABLE).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMN_NAMES)
        for of in images:
            writer.writerow(
                [
                    *[of.study, "series", of.laterality, of.view, of.name, ROWS, COLUMNS],
                    *[f"BI-RADS {of.birads}", f"DENSITY {of.density}", of.split],
                ]
            )


def write_image(root: Path, image: Image, **elements: object) -> None:
    """The breast hangs from the left border, from the right one for the right breast."""
    y, x = (((np.arange(n) + 0.5) * PIXEL_MM) for n in (ROWS, COLUMNS))
    below, right = y[:, None] - image.middle_mm, x[None]
    pixels = np.where(np.hypot(below, right) < 60, TISSUE, 20).astype(np.uint16)
    pixels[np.hypot(below + 20, right - 30) < 5] = SPOT  # 20 mm above, 30 mm from the chest wall
    pixels[8:20, -30:-6] = 4000  # the label
    if image.laterality == "R":
        pixels = pixels[:, ::-1]
    path = root / image.path
    path.unlink(missing_ok=True)
    write_radiograph(
        path,
        pixels,
        **{
            "SOPInstanceUID": drawn_uid(image.name),
            "StudyInstanceUID": drawn_uid(image.study),
            "SeriesInstanceUID": drawn_uid(image.study, "series"),
            "BitsStored": 12,
            "HighBit": 11,
            "Modality": "MG",
            "ViewPosition": image.view,
            "ImagerPixelSpacing": [str(PIXEL_MM), str(PIXEL_MM)],
            **elements,
        },
    )
