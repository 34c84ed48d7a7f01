"""The verdict and the tables of a small study, as they were when a person looked at them.

After a change that is meant: MLP_MED_RENEW_GOLDEN=1 pytest tests/reports/test_golden.py, and read
the difference before it is committed.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mlp_med.ledger.read import load_predictions
from tests.reports.reading import Page

GOLDEN = Path(__file__).parent / "golden"


def golden(name, value):
    path = GOLDEN / name
    if os.environ.get("MLP_MED_RENEW_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    return json.loads(path.read_text())


def flat(value, name=""):
    """Everything in it by its path, so that numbers can be compared to rounding."""
    if not isinstance(value, (dict, list)):
        return {name: value}
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return {path: leaf for key, part in parts for path, leaf in flat(part, f"{name}/{key}").items()}


def test_the_verdict_is_the_golden_one(report):
    verdict = json.loads(report.verdict.read_text())
    expected = golden("verdict.json", verdict)
    assert flat(verdict) == pytest.approx(flat(expected), abs=1e-6)


def test_the_tables_are_the_golden_ones(report):
    tables = Page(report.page.read_text()).tables
    # Run ids are drawn anew for every ledger.
    shown = {caption: rows for caption, rows in tables.items() if "Finished cells" not in caption}
    assert shown == golden("tables.json", shown)


def test_an_arm_is_its_done_cells_by_the_plain_formulas(study, report):
    ledger, record = study
    rows = {row["arm"]: row for row in json.loads(report.verdict.read_text())["arms"]}
    assert len(rows) == 4
    for arm, row in rows.items():
        done = [cell for cell in record.in_state("done") if cell.arm == arm]
        tables = [load_predictions(ledger, cell.run_id) for cell in done]
        aucs = [roc_auc_score(table["label"], table["score"]) for table in tables]
        assert row["n"] == len(aucs)
        assert row["mean"] == pytest.approx(np.mean(aucs))
        assert row["standard_error"] == pytest.approx(np.std(aucs, ddof=1) / np.sqrt(len(aucs)))
        assert row["peak_memory_bytes"] == max(cell.metrics["peak_memory_bytes"] for cell in done)
