"""Sweeps of cells of no work, for processes that share a ledger."""

import time
from pathlib import Path

import numpy as np
import pandas as pd

from mlp_med.evidence.claim import Claim
from mlp_med.ledger.read import StudyRecord
from mlp_med.ledger.store import Ledger, open_ledger
from mlp_med.ledger.write import finish_cell
from mlp_med.studies.cell import Cell
from mlp_med.studies.orders import Done, Failed
from mlp_med.studies.room import Needs
from mlp_med.studies.run import run_study
from mlp_med.studies.study import Study
from tests.studies.synthetic import dataset_info

CLAIM = Claim(question="none?", statement="none", primary=("5mm", "10mm"), margin=0.01)
DIVERGES = 7  # the seed of a cell whose loss becomes NaN


def study_of(cells: list[Cell], data_dir: str = "/data") -> Study:
    return Study(
        name="shared",
        size="smoke",
        claim=CLAIM,
        cells=tuple(cells),
        arm_names={cell.hash: "5mm" for cell in cells},
        dataset_info=dataset_info(data_dir=data_dir),
        code_digest="0",
        common_code_digest="0",
    )


def predictions(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": [f"case{number}" for number in range(20)],
            "patient": [f"patient{number // 2}" for number in range(20)],
            "seed": np.int64(seed),
            "label": np.arange(20) % 2,
            "score": rng.uniform(size=20),
        }
    )


def no_work(ledger: Ledger, notes: Path, seconds: float = 0.0):
    """A launcher that writes each cell's result itself, one after the other."""

    def launch(jobs, work, on_event, *, is_lost):
        for job in jobs:
            order = job.open()
            if order is None:
                continue
            with (notes / "runs").open("a") as runs:
                runs.write(f"{order.cell.seed}\n")
            time.sleep(seconds)
            if order.cell.seed == DIVERGES:
                on_event(order, Failed("non_finite_loss", "the loss became nan"))
                continue
            finish_cell(ledger, order.run_id, {"test_auc": 0.5}, predictions(order.cell.seed))
            on_event(order, Done())

    return launch


def sweep(
    tracking_uri: str, cells: list[Cell], notes: Path, seconds: float = 0.0, **options
) -> StudyRecord:
    ledger = open_ledger(tracking_uri)
    return run_study(
        study_of(cells, str(notes)),
        ledger,
        **{
            "launch": no_work(ledger, notes, seconds),
            "needs_of": lambda cells: [Needs(1)] * len(cells),
            "on_event": lambda cell, event: None,
            **options,
        },
    )


def sweep_and_note(name: str, *arguments) -> None:
    """In a process of its own: what it found in the end is a line of states."""
    record = sweep(*arguments)
    (arguments[2] / name).write_text(" ".join(str(cell.state) for cell in record.cells))


def write_only(order, send) -> None:
    """A cell's process that trains nothing and writes a result."""
    ledger = open_ledger(order.tracking_uri)
    finish_cell(ledger, order.run_id, {"test_auc": 0.5}, predictions(order.cell.seed))
