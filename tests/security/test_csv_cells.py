"""What we write as csv is opened in spreadsheets; nobody's text becomes a formula there."""

import ast
import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlp_med.csv_export import FORMULA_BEGINS_WITH, neutral, write_csv
from mlp_med.errors import SourceError
from mlp_med.evidence.mark_tables import read_marks, read_series
from mlp_med.studies.submission import Submission, write_submission
from tfds_builders.luna16.release_tables import read_candidates

ROOT = Path(__file__).parents[2]
FORMULAS = ('=cmd|"/c calc"!A1', "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", '=HYPERLINK("x")')
texts = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(FORMULAS)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text(text):
    assert neutral(text) == f"'{text}".replace("\r", " ")


@pytest.mark.parametrize("value", ["-1.5", "+2", "-1e-5", "1.2.840", "", "a=b", -1.5, None, 3])
def test_numbers_and_other_text_stay_as_they_are(value):
    assert neutral(value) == value


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(texts, min_size=1, max_size=4), column=texts)
def test_no_cell_of_an_export_begins_a_formula(names, column, tmp_path: Path):
    numbers = np.linspace(-1.5, 2.5, len(names))
    table = pd.DataFrame({"score": numbers})
    table.insert(0, column, names, allow_duplicates=True)
    path = tmp_path / "table.csv"
    write_csv(table, path)
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    for text in [*head, *(row[0] for row in rows)]:
        assert not text.strip().startswith(FORMULA_BEGINS_WITH) or is_number(text)
    assert [float(row[1]) for row in rows] == numbers.tolist()


def is_number(text: str) -> bool:
    try:
        return float(text) is not None and text == text.strip()
    except ValueError:
        return False


def submission(series: list[str]) -> Submission:
    marks = pd.DataFrame(
        {
            "seriesuid": series,
            **{f"coord{axis}": [-10.5] * len(series) for axis in "XYZ"},
            "probability": [0.25] * len(series),
        }
    )
    return Submission(marks=marks, phantom=True, negatives_per_positive=3.0)


def test_a_submission_holds_no_formula_and_its_negative_coordinates_stay_numbers(tmp_path):
    made = submission(["1.2.840.1", "=1+1", "@x"])
    marks, series = write_submission(made, tmp_path)
    assert read_marks(marks)["seriesuid"].tolist() == ["1.2.840.1", "'=1+1", "'@x"]
    assert read_marks(marks)["coordX"].tolist() == [-10.5] * 3
    assert set(read_series(series)) == {"1.2.840.1", "'=1+1", "'@x"}


@pytest.mark.parametrize("name", ["-1+1", "=1", "+1", "@x"])
def test_such_a_series_is_refused_where_it_comes_in(name, tmp_path):
    path = tmp_path / "candidates.csv"
    path.write_text(f"seriesuid,coordX,coordY,coordZ,class\n{name},1,2,3,0\n")
    with pytest.raises(SourceError, match="expected a series id"):
        read_candidates([path])


def test_csv_is_written_by_that_function_alone():
    """Phantoms excepted, whose tables hold what we drew and are read back by the builders."""
    for path in sorted((ROOT / "mlp_med").rglob("*.py")):
        if path.name == "csv_export.py" or path.parent.name == "phantoms":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert ast.unparse(node) not in ("csv.writer", "csv.DictWriter"), path
                assert node.attr != "to_csv", path
