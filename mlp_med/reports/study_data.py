"""What a report is made of: the done cells of a study, as data frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mlp_med.ledger.read import CellRecord, StudyRecord, load_curve, load_predictions
from mlp_med.ledger.store import Ledger

CELL_METRICS = (
    "test_auc",
    "best_validation_auc",
    "seconds_total",
    "seconds_startup",
    "seconds_training",
    "seconds_evaluation",
    "examples_per_second",
    "peak_memory_bytes",
    "peak_memory_above_base_bytes",
    "num_parameters",
    "final_training_loss",
    "reached_training_loss",
    "sharpness_full_0.001",
    "sharpness_full_0.0005",
    "sharpness_subspace_0.001",
    "sharpness_subspace_0.0005",
    "sharpness_adaptive",
    "critical_batch",
    "num_image_labels",
    "num_drawn_lesions",
)
CELL_PARAMS = (
    "resolution",
    "grid",
    "control",
    "training_fraction",
    "seed",
    "fold",
    "global_batch_size",
    "accumulation_steps",
    "norm",
    "split",
    "tile_labels",
    "learning_rate",
    "budget_examples",
)
CURVE_COLUMNS = ("examples_seen", "validation_auc", "seconds_elapsed")


@dataclass(frozen=True)
class StudyData:
    """The done cells of a study; what is planned, running or failed is in none of these.

    Attributes:
        cells: one row a cell: run_id, arm, `CELL_PARAMS`, and `CELL_METRICS`, NaN where not
            recorded.
        predictions: by arm, the predictions of all its seeds, one below the other; where the study
            is cross-validated, of the seeds that have every fold.
        curves: one row an evaluation: arm, seed, fold, examples_seen, validation_auc,
            seconds_elapsed.
        arms: of `cells`, native arms first, finest first, the most training data first.
    """

    cells: pd.DataFrame
    predictions: Mapping[str, pd.DataFrame]
    curves: pd.DataFrame
    arms: tuple[str, ...]


def load_study_data(ledger: Ledger, record: StudyRecord) -> StudyData:
    """Reads the predictions and curves of every done cell.

    Raises:
        LedgerError: an artifact is gone.
    """
    done = sorted(record.in_state("done"), key=_finest_native_first)
    arms = tuple(dict.fromkeys(cell.arm for cell in done))
    columns = ["run_id", "arm", *CELL_PARAMS, *CELL_METRICS]
    whole = {arm: _whole_seeds(record, arm) for arm in arms}
    predictions = {
        arm: pd.concat(
            [
                load_predictions(ledger, cell.run_id)
                for cell in done
                if cell.arm == arm and cell.params["seed"] in seeds
            ],
            ignore_index=True,
        )
        for arm, seeds in whole.items()
        if seeds
    }
    return StudyData(
        cells=pd.DataFrame([_cell_row(cell) for cell in done], columns=columns),
        predictions=predictions,
        curves=_curves(ledger, done),
        arms=arms,
    )


def _whole_seeds(record: StudyRecord, arm: str) -> set[int]:
    """The seeds of an arm all of whose folds are done."""
    cells = [cell for cell in record.cells if cell.arm == arm]
    lacking = {cell.params["seed"] for cell in cells if cell.state != "done"}
    return {int(cell.params["seed"]) for cell in cells} - lacking


def _finest_native_first(cell: CellRecord) -> tuple[bool, float, float, float, int]:
    params = cell.params
    place = (params["control"] != "none", params["resolution"], params["grid"])
    return *place, -params["training_fraction"], params["seed"]


def _cell_row(cell: CellRecord) -> dict[str, Any]:
    described = {name: cell.params[name] for name in CELL_PARAMS}
    measured = {name: cell.metrics.get(name, float("nan")) for name in CELL_METRICS}
    return {"run_id": cell.run_id, "arm": cell.arm, **described, **measured}


def _curves(ledger: Ledger, cells: list[CellRecord]) -> pd.DataFrame:
    columns = ["arm", "seed", "fold", *CURVE_COLUMNS]
    curves = [
        load_curve(ledger, cell.run_id, CURVE_COLUMNS[1:]).assign(
            arm=cell.arm, seed=cell.params["seed"], fold=cell.params["fold"]
        )
        for cell in cells
    ]
    known = [curve for curve in curves if "validation_auc" in curve]
    if not known:
        return pd.DataFrame(columns=columns)
    joined = pd.concat(known, ignore_index=True).reindex(columns=columns)
    return joined.dropna(subset="validation_auc")
