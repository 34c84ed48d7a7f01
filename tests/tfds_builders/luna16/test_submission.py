"""From a cell's predictions to LUNA16's FROC, on a tiny source in LUNA16's layout."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mlp_med.cli.app import app
from mlp_med.errors import DatasetError, StudyError
from mlp_med.evidence.froc import froc
from mlp_med.evidence.mark_tables import read_findings, read_marks, read_series
from mlp_med.evidence.marks import match_marks
from mlp_med.ledger.read import CellRecord
from mlp_med.pipelines.arrays import load_split
from mlp_med.studies import submission
from mlp_med.studies.submission import make_submission, write_submission
from tests.studies.conftest import make_cell  # noqa: F401  # a fixture
from tfds_builders.luna16 import build


@pytest.fixture(scope="module")
def source(make_source, tmp_path_factory) -> Path:
    root = make_source(tmp_path_factory.mktemp("luna16") / "source").root
    (root / "PHANTOM.json").write_text(json.dumps({"complete": True}))
    return root


@pytest.fixture(scope="module")
def data_dir(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("built")
    build(source, out, [5.0], num_workers=1)
    return out


@pytest.fixture
def ledger_of(make_cell, data_dir, monkeypatch):  # noqa: F811
    """A stand-in for a ledger: runs by id, each a function from cases to scores."""
    test = load_split("luna16", data_dir, 5.0, "test")

    def make(scores, rows=slice(None), **changes):
        cell = make_cell(**{"dataset_digest": test.digest, "resolution": 5.0, **changes})
        predictions = pd.DataFrame(
            {
                "id": test.ids,
                "patient": test.patients,
                "seed": 0,
                "label": test.labels,
                "score": np.asarray(scores(test), dtype=np.float32),
            }
        )
        runs[f"run{len(runs)}"] = (cell, predictions[rows])

    def read_cell(_, run_id):
        cell, _ = runs[run_id]
        return CellRecord(
            run_id, "study", cell.hash, "5mm", "done", cell.to_params(), {}, tags(data_dir)
        )

    runs: dict = {}
    monkeypatch.setattr(submission, "read_cell", read_cell)
    monkeypatch.setattr(submission, "load_predictions", lambda _, run_id: runs[run_id][1])
    return make


def tags(data_dir: Path) -> dict[str, str]:
    return {"data_dir": str(data_dir)}


def cpm(marks: Path, series: Path, source: Path) -> float:
    nodules = read_findings(source / "annotations.csv")
    matched = match_marks(read_marks(marks), nodules, nodules.iloc[:0], read_series(series))
    assert matched.unknown_scans == 0
    return froc(matched.detections, num_bootstrap=0).cpm


def test_right_scores_find_every_nodule_before_any_false_positive(
    ledger_of, source, data_dir, tmp_path
):
    ledger_of(lambda test: 0.2 + 0.6 * test.labels)
    made = make_submission(None, ["run0"])
    test = load_split("luna16", data_dir, 5.0, "test")
    assert len(made.marks) == len(test)
    assert made.series == sorted(set(test.patients))
    assert (made.phantom, made.negatives_per_positive) == (True, 3.0)
    right = cpm(*write_submission(made, tmp_path / "right"), source)
    assert right == pytest.approx(1)
    ledger_of(lambda test: 0.8 - 0.6 * test.labels)
    wrong = cpm(*write_submission(make_submission(None, ["run1"]), tmp_path / "wrong"), source)
    assert wrong < 0.7


def test_centres_and_scores_are_those_of_the_cases(ledger_of, source, data_dir, tmp_path):
    ledger_of(lambda test: np.linspace(0.1, 0.9, len(test)))
    marks = read_marks(write_submission(make_submission(None, ["run0"]), tmp_path)[0])
    test = load_split("luna16", data_dir, 5.0, "test")
    expected = dict(zip(np.linspace(0.1, 0.9, len(test)).round(6), test.patients, strict=True))
    assert dict(zip(marks["probability"].round(6), marks["seriesuid"], strict=True)) == expected
    candidates = pd.read_csv(source / "candidates_V2.csv")
    for mark in marks.itertuples():
        rows = candidates[candidates["seriesuid"] == mark.seriesuid]
        centre = np.array([mark.coordX, mark.coordY, mark.coordZ])
        gaps = np.abs(rows[["coordX", "coordY", "coordZ"]] - centre)
        nearest = gaps.max(axis=1).idxmin()
        assert gaps.max(axis=1)[nearest] < 1e-3
        (label,) = test.labels[np.isclose(np.linspace(0.1, 0.9, len(test)), mark.probability)]
        assert candidates["class"][nearest] == label


def test_folds_are_joined_and_a_case_scored_twice_is_refused(ledger_of, tmp_path):
    ledger_of(lambda test: test.labels * 0.5, rows=slice(0, 6))
    ledger_of(lambda test: test.labels * 0.5, rows=slice(6, None))
    ledger_of(lambda test: test.labels * 0.5, rows=slice(5, None))
    assert len(make_submission(None, ["run0", "run1"]).marks) > 6
    with pytest.raises(StudyError, match="1 cases are scored by more than one"):
        make_submission(None, ["run0", "run2"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dataset": "table"}, StudyError, "test split of luna16, run run0 scored .* of table"),
        ({"scored_split": "validation"}, StudyError, "scored the validation split"),
        ({"dataset_digest": "other"}, DatasetError, "is not the dataset that was scored"),
    ],
)
def test_other_cells_are_refused(ledger_of, changes, error, message):
    ledger_of(lambda test: test.labels * 0.5, **changes)
    with pytest.raises(error, match=message):
        make_submission(None, ["run0"])


def test_the_command_says_phantom_and_how_to_go_on(ledger_of, tmp_path, monkeypatch):
    ledger_of(lambda test: 0.2 + 0.6 * test.labels)
    monkeypatch.setattr("mlp_med.ledger.store.ledger_to_read", lambda uri: None)
    done = CliRunner().invoke(app, ["submission", "run0", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "PHANTOM" in done.output
    assert "at most 3 non-nodules a nodule" in done.output
    assert (tmp_path / "out" / "submission.csv").is_file()
