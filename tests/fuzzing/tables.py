"""Tiny tables in each layout that is read, and XML as ASAP writes it."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from mlp_med.errors import SourceError
from mlp_med.evidence import mark_tables
from mlp_med.evidence.foreign import read_predictions
from tests.fuzzing.cases import Case
from tfds_builders.breast_screening.exams import COLUMNS as EXAM_COLUMNS
from tfds_builders.breast_screening.exams import TABLE as EXAMS
from tfds_builders.breast_screening.exams import VIEWS, read_exams
from tfds_builders.camelyon16.layout import read_reference
from tfds_builders.cbis_ddsm_crops import case_tables
from tfds_builders.dsb2017.release import find_release
from tfds_builders.luna16 import release_tables
from tfds_builders.metastasis_patches.survey import survey_source
from tfds_builders.table.rows import read_rows

ANNOTATIONS = """<?xml version="1.0"?>
<ASAP_Annotations>
\t<Annotations>
\t\t<Annotation Name="Annotation 0" Type="Polygon" PartOfGroup="Tumor" Color="#F4FA58">
\t\t\t<Coordinates>
\t\t\t\t<Coordinate Order="0" X="100.5" Y="200" />
\t\t\t\t<Coordinate Order="1" X="300" Y="220.25" />
\t\t\t\t<Coordinate Order="2" X="250" Y="400" />
\t\t\t</Coordinates>
\t\t</Annotation>
\t</Annotations>
\t<AnnotationGroups>
\t\t<Group Name="Tumor" PartOfGroup="None" Color="#00ff00"><Attributes /></Group>
\t</AnnotationGroups>
</ASAP_Annotations>
"""
FINDINGS = (
    "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.840.1,-10,0,-70.5,6.5\n1.2.840.2,15,5,-80,9\n"
)
CASE_ROW = {
    "patient_id": "P_00001",
    "left or right breast": "LEFT",
    "image view": "CC",
    "abnormality id": "1",
    "assessment": "4",
    "pathology": "MALIGNANT",
    "subtlety": "3",
    "breast_density": "2",
    "image file path": "Mass_P_00001_LEFT_CC/1.3/1.4/000000.dcm",
    "cropped image file path": "Mass_P_00001_LEFT_CC_1/1.3/1.5/000000.dcm",
    "ROI mask file path": "Mass_P_00001_LEFT_CC_1/1.3/1.5/000001.dcm",
}


def predictions() -> pd.DataFrame:
    """Of eight cases of four patients and two seeds."""
    return pd.DataFrame(
        {
            "id": [f"case {n}" for n in range(8)] * 2,
            "patient": [f"P{n // 2}" for n in range(8)] * 2,
            "seed": [0] * 8 + [1] * 8,
            "label": [0, 1] * 8,
            "score": [round(0.05 * n, 2) for n in range(16)],
        }
    )


def told(problems: list[str]) -> None:
    """What a survey tells as a problem, a build refuses."""
    if problems:
        raise SourceError(problems[0])


def draw(folder: Path) -> list[Case]:
    """The cases of every table."""
    return [
        *_luna16(folder / "luna16"),
        *_releases(folder),
        *_own(folder / "own"),
        *_marks(folder / "marks"),
    ]


def _case(path: Path, text: str, read: Callable[[], object]) -> Case:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Case(path, read, text=True)


def _luna16(root: Path) -> list[Case]:
    candidates = root / "candidates_V2.csv"
    rows = "seriesuid,coordX,coordY,coordZ,class\n1.2.840.1,-10,0,-70.5,1\n1.2.840.2,1e1,5,-80,0\n"
    found, left_out, series = (
        root / "annotations.csv",
        root / "excluded.csv",
        root / "seriesuids.csv",
    )
    return [
        _case(candidates, rows, lambda: release_tables.read_candidates([candidates])),
        _case(found, FINDINGS, lambda: release_tables.read_annotations([found])),
        _case(left_out, FINDINGS, lambda: release_tables.read_excluded([left_out])),
        _case(series, "1.2.840.1\n1.2.840.2\n", lambda: release_tables.read_series([series])),
    ]


def _releases(root: Path) -> list[Case]:
    return [*_dsb2017(root / "dsb"), _cbis(root / "cbis"), _exams(root / "exams"), *_slides(root)]


def _dsb2017(root: Path) -> list[Case]:
    for patient in ("a1", "b2"):
        (root / "stage1" / patient).mkdir(parents=True)
    texts = {"stage1_labels.csv": "id,cancer\na1,0\n", "stage1_solution.csv": "id,cancer\nb2,1\n"}
    read = lambda: told(find_release(root).problems)  # noqa: E731
    return [_case(root / name, text, read) for name, text in texts.items()]


def _cbis(root: Path) -> Case:
    root.mkdir()
    for name, (kind, official) in case_tables.TABLES.items():
        row = {**CASE_ROW, "abnormality type": kind}
        row |= dict.fromkeys(case_tables.APPEARANCE[kind], "IRREGULAR")
        row["patient_id"] += official
        pd.DataFrame([row]).to_csv(root / name, index=False)
    problems: list[str] = []

    def read() -> None:
        problems.clear()
        case_tables.read_cases(root, problems)
        told(problems)

    return Case(root / next(iter(case_tables.TABLES)), read, text=True)


def _exams(root: Path) -> Case:
    rows = [
        f"s{study},i{study}{side}{view},{side},{view},BI-RADS {study},DENSITY B,training"
        for study in (1, 2)
        for side, view in VIEWS
    ]
    problems: list[str] = []

    def read() -> None:
        problems.clear()
        read_exams(root, problems, {})
        told(problems)

    return _case(root / EXAMS, "\n".join([",".join(EXAM_COLUMNS), *rows, ""]), read)


def _slides(root: Path) -> list[Case]:
    reference, patches = root / "reference.csv", root / "pcam"
    (patches / "train").mkdir(parents=True)
    for name in ("a1", "b2"):
        (patches / "train" / f"{name}.tif").touch()
    return [
        _case(reference, "test_001,Tumor\ntest_002,Normal\n", lambda: read_reference(reference)),
        _case(
            patches / "train_labels.csv", "id,label\na1,0\nb2,1\n", lambda: survey_source(patches)
        ),
    ]


def _own(root: Path) -> list[Case]:
    own, foreign = root / "scans.csv", root / "predictions.csv"
    rows = (
        "path,patient,label,x_mm,y_mm,z_mm,split,diameter_mm,spacing_mm\n"
        "ct/1.nii.gz,P17,1,-21.9,-120.5,-611.5,train,6,\n"
        "ct/1.nii.gz,P17,0,38.0,-90.5,-611.5,train,,\nct/2.mha,P18,1,1,2,3,test,4,0.5\n"
    )
    return [
        _case(own, rows, lambda: told(read_rows(own).problems)),
        _case(own.with_name("short.csv"), "path;patient;label\na.png;;1\nb.png;;0\n", _short(root)),
        _case(foreign, predictions().to_csv(index=False), lambda: read_predictions(foreign, "arm")),
    ]


def _short(root: Path) -> Callable[[], None]:
    return lambda: told(read_rows(root / "short.csv").problems)


def _marks(root: Path) -> list[Case]:
    marks = "seriesuid,coordX,coordY,coordZ,probability\n1.2.840.1,-10,0,-70.5,0.9\n"
    on_slides = "slide,x_um,y_um,probability\ntest_001,10,20.5,0.9\n"
    kinds = {
        "marks": (marks, mark_tables.read_marks),
        "findings": (FINDINGS, mark_tables.read_findings),
        "series": ("1.2.840.1\n1.2.840.2\n", mark_tables.read_series),
        "on_slides": (on_slides, mark_tables.read_slide_marks),
        "scores": ("slide,probability\ntest_001,0.25\n", mark_tables.read_slide_scores),
    }
    return [
        _case(root / f"{name}.csv", text, lambda read=read, name=name: read(root / f"{name}.csv"))
        for name, (text, read) in kinds.items()
    ]
