"""The arms of a ledger that advice can choose from, and what else there is to know of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mlp_med.errors import LedgerError
from mlp_med.evidence.choice import Option
from mlp_med.ledger.read import CellRecord, StudyRecord, find_studies, read_study
from mlp_med.ledger.store import Ledger
from mlp_med.reports.formatting import UNITS
from mlp_med.reports.study_data import load_study_data
from mlp_med.studies.cell import Cell

# Bytes and seconds of training a cell somewhere else than where it was measured.
Elsewhere = Callable[[Cell], tuple[int, float | None]]


@dataclass(frozen=True)
class Trained:
    """An option with the cell that it is made of.

    Attributes:
        option: what evidence chooses from.
        cell: one of its cells; the others differ in seed and fold alone.
    """

    option: Option
    cell: Cell


@dataclass(frozen=True)
class Found:
    """What a ledger says of a dataset.

    Attributes:
        trained: an entry an arm, in the order of the studies.
        studies: that they are from.
        without_result: cells that are planned, running, failed or infeasible, by study.
        phantom: whether the scans were drawn by a program.
        unit: "mm" or "um".
    """

    trained: tuple[Trained, ...]
    studies: tuple[StudyRecord, ...]
    without_result: Mapping[str, list[CellRecord]]
    phantom: bool
    unit: str


def studies_of(
    ledger: Ledger, names: Sequence[str], dataset: str, run_ids: Sequence[str] = ()
) -> list[StudyRecord]:
    """The studies to draw on: those with `run_ids`, else all that claim something on a dataset.

    Raises:
        LedgerError: there is none, or they are of different data or code, which do not mix.
    """
    if run_ids:
        found = [read_study(ledger, run_id) for run_id in run_ids]
    else:
        every = [run for name in names for run in find_studies(ledger, name, dataset=dataset)]
        found = [read_study(ledger, run_id) for run_id in every]
    foreign = [study.run_id for study in found if study.plan["dataset"]["name"] != dataset]
    if foreign:
        raise LedgerError(f"expected studies of {dataset}, study {foreign[0]} is of other data")
    chosen = [study for study in found if study.in_state("done") and _claims(study)]
    if not chosen:
        raise LedgerError(
            f"no finished cell of a study of {dataset} that claims anything in "
            f"{ledger.tracking_uri}; run: mlp-med study run resolution_matters --dataset {dataset}"
        )
    _require_alike(chosen)
    return chosen


def load_options(
    ledger: Ledger, studies: Sequence[StudyRecord], elsewhere: Elsewhere | None = None
) -> Found:
    """Every arm that a user could take, with its cost here, or as forecast elsewhere.

    Left out are arms that nobody would take: on permuted labels, denied a part of the training set,
    or stopped at a training loss to be compared there. The same arm of two studies counts once,
    with the seeds of both.

    Args:
        ledger: an open ledger.
        studies: as `studies_of` gives them.
        elsewhere: what a cell takes on another machine; None for what was measured.

    Raises:
        LedgerError: an artifact is gone.
    """
    rows: dict[Cell, list[pd.DataFrame]] = {}
    predictions: dict[Cell, list[pd.DataFrame]] = {}
    for study in studies:
        data = load_study_data(ledger, study)
        cells = {cell.run_id: Cell.from_params(cell.params) for cell in study.in_state("done")}
        for arm in data.predictions:
            own = data.cells[data.cells["arm"] == arm]
            cell = cells[own["run_id"].iloc[0]].arm_key()
            if _could_be_taken(cell):
                rows.setdefault(cell, []).append(own)
                predictions.setdefault(cell, []).append(data.predictions[arm])
    dataset = studies[0].plan["dataset"]
    unit = str(dataset["unit"])
    trained = tuple(
        Trained(_option(cell, unit, rows[cell], predictions[cell], elsewhere), cell)
        for cell in rows
    )
    without = {
        study.run_id: [cell for cell in study.cells if cell.state != "done"] for study in studies
    }
    return Found(
        trained,
        tuple(studies),
        {run_id: cells for run_id, cells in without.items() if cells},
        bool(dataset["phantom"]),
        unit,
    )


def log_cell_details(cell: Cell, unit: str) -> str:
    """What a user would have to set: resolution, batch, network, precision and the rest."""
    shown = UNITS.get(unit, unit)
    resolution = f"{cell.resolution:g} {shown}"
    if cell.grid != cell.resolution:
        resolution += f" upsampled to {cell.grid:g} {shown}"
    parts = [resolution, f"batch {cell.global_batch_size}"]
    if cell.accumulation_steps > 1:
        parts[-1] += f" in {cell.accumulation_steps} micro-batches"
    parts += [cell.model, cell.precision]
    if cell.norm != "batch":
        parts.append(f"{cell.norm} norm" if cell.norm != "none" else "no norm")
    parts += ["recomputing"] if cell.recompute else []
    parts += [f"first stages in tiles of {cell.stream_tile}"] if cell.stream_tile else []
    if cell.split > 1:
        labels = "the image's label each" if cell.tile_labels == "image" else "pooled as a bag"
        parts.append(f"split into {cell.split} tiles an axis, {labels}")
    if cell.moment_window_batch:
        parts.append(f"Adam's moments over as many examples as at {cell.moment_window_batch}")
    schedule = f"learning rate {cell.learning_rate:g}, {cell.budget_examples:,} examples"
    return ", ".join([*parts, schedule])


def _option(
    cell: Cell,
    unit: str,
    rows: Sequence[pd.DataFrame],
    predictions: Sequence[pd.DataFrame],
    elsewhere: Elsewhere | None,
) -> Option:
    """An arm from all studies that have it; a seed that two of them have counts once."""
    cells = pd.concat(rows).drop_duplicates(["seed", "fold"])
    scores = pd.concat(predictions, ignore_index=True).drop_duplicates(["seed", "id"])
    memory, seconds = cells["peak_memory_bytes"].max(), float(cells["seconds_total"].mean())
    if elsewhere is not None:
        memory, known = elsewhere(cell)
        seconds = float("inf") if known is None else known
    return Option(
        name=log_cell_details(cell, unit),
        predictions=scores.reset_index(drop=True),
        validation_auc=float(cells["best_validation_auc"].mean()),
        memory_bytes=int(memory),
        seconds=seconds,
        num_cells=len(cells),
    )


def _could_be_taken(cell: Cell) -> bool:
    whole = cell.training_fraction == 1 and not cell.stop_at_training_loss
    return whole and cell.control != "permuted"


def _claims(study: StudyRecord) -> bool:
    """A smoke study trains too little to advise anything."""
    return study.plan.get("no_verdict_reason") is None


def _require_alike(studies: Sequence[StudyRecord]) -> None:
    """Raises LedgerError where two studies are of other data or of another version of the code."""

    def data_of(study: StudyRecord) -> tuple[Any, ...]:
        dataset = study.plan["dataset"]
        return dataset["source_digest"], dataset.get("task", "")

    for what, key in (("data", data_of), ("code", lambda study: study.plan["code_digest"])):
        if len({key(study) for study in studies}) > 1:
            listed = "\n".join(
                f"  {study.run_id}  {study.name}, {study.plan['size']}, commit "
                f"{study.tags.get('commit', 'unknown')[:10]}, {what} {_short(key(study))}"
                for study in studies
            )
            raise LedgerError(
                f"studies of different {what} do not mix; choose among them with --study RUN_ID, "
                f"repeated:\n{listed}"
            )


def _short(digest: Any) -> str:
    text = digest if isinstance(digest, str) else " ".join(part[:10] for part in digest)
    return text[:24]
