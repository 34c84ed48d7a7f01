"""What a study will take and what it can see, before anything trains."""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from mlp_med.errors import StudyError
from mlp_med.evidence.power import PlanningAssumptions, planned_detectable_effect
from mlp_med.ledger.read import CellRecord, find_studies, read_study
from mlp_med.ledger.store import Ledger
from mlp_med.pipelines.datasets import describe
from mlp_med.studies.cell import Cell
from mlp_med.studies.study import Study

# Voxels (pixels) of input a second in training, one thread; measured with
# `mlp-med study run resolution_matters` on two cores with AVX2 and no bfloat16.
REFERENCE_RATES: Mapping[str, float] = {
    "residual_small": 4.0e6,
    "residual": 1.0e6,
    # With AVX-512, other work beside:
    "residual_patches": 6.0e7,
    "residual_quick_four_views": 9.0e6,
}


def forecast(study: Study, ledger: Ledger | None, *, num_concurrent: int) -> list[str]:
    """Lines for a person: cells, time, disk, and the smallest effect that can be detected.

    Args:
        study: the plan.
        ledger: finished cells in it tell how fast this machine is; None where there is none.
        num_concurrent: cells that will run at once.
    """
    info = study.dataset_info
    phantom = " (PHANTOM)" if info.phantom else ""
    arms = Counter(study.arm_of(cell) for cell in study.cells)
    lines = [f"{study.name}, size {study.size}, on {info.name}{phantom}: {study.claim.statement}"]
    lines += [f"cells: {len(study.cells)}"]
    num_folds = len({cell.fold for cell in study.cells})
    each = f" in each of {num_folds} folds" if study.cross_validated else ""
    lines += [f"  {arm}: {number // num_folds} seeds{each}" for arm, number in arms.items()]
    lines += [_time(study, ledger, num_concurrent), _disk(study), _detectable(study)]
    return lines


def cell_seconds(study: Study, ledger: Ledger | None) -> tuple[dict[Cell, float], str]:
    """Seconds that each cell of a study takes, and in words how they are known.

    Args:
        study: the plan.
        ledger: finished cells in it tell how fast this machine is; None where there is none.
    """
    rates = _measured_rates(study, ledger) if ledger is not None else {}
    origin = "as cells in this ledger ran" if rates else "as on the machine of the README"
    return {cell: _seconds(cell, rates, study) for cell in study.cells}, origin


def _time(study: Study, ledger: Ledger | None, num_concurrent: int) -> str:
    by_cell, origin = cell_seconds(study, ledger)
    seconds = list(by_cell.values())
    total = max(sum(seconds) / num_concurrent, max(seconds))
    return f"time: about {total / 60:.0f} minutes, {num_concurrent} cells at once, {origin}"


def _seconds(cell: Cell, rates: Mapping[tuple[str, str, int], float], study: Study) -> float:
    # Where the average is taken costs nothing.
    network = cell.model.removesuffix("_centre")
    fallback = REFERENCE_RATES.get(network, min(REFERENCE_RATES.values()))
    rate = rates.get(_kind(cell), fallback * cell.intra_op_threads)
    return cell.budget_examples * _voxels(cell, study) / rate


def _measured_rates(study: Study, ledger: Ledger) -> dict[tuple[str, str, int], float]:
    """Voxels a second of finished cells, by model, precision and threads, at the finest grid."""
    rates: dict[tuple[str, str, int], float] = {}
    for run_id in find_studies(ledger, study.name, dataset=study.dataset_info.name)[:5]:
        for record in read_study(ledger, run_id).in_state("done"):
            cell = _readable_cell(record)
            if cell is not None and "seconds_total" in record.metrics:
                rate = cell.budget_examples * _voxels(cell, study) / record.metrics["seconds_total"]
                rates[_kind(cell)] = max(rate, rates.get(_kind(cell), 0.0))
    return rates


def _readable_cell(record: CellRecord) -> Cell | None:
    try:
        return Cell.from_params(record.params)
    except StudyError:
        return None


def _kind(cell: Cell) -> tuple[str, str, int]:
    return cell.model, cell.precision, cell.intra_op_threads


def _voxels(cell: Cell, study: Study) -> float:
    description = describe(cell.dataset, Path(study.dataset_info.data_dir))
    return math.prod(extent / cell.grid for extent in description.extents)


def _disk(study: Study) -> str:
    info = study.dataset_info
    resolutions = {cell.resolution for cell in study.cells}
    folders = [
        Path(info.data_dir) / info.name / f"{resolution:g}{info.unit}" for resolution in resolutions
    ]
    size = sum(file.stat().st_size for folder in folders for file in folder.rglob("*.tfrecord*"))
    ledger_size = len(study.cells) * (50e3 + 40 * info.num_cases["test"])
    return (
        f"disk: {size / 1e6:.0f} MB of crops at {len(resolutions)} resolutions (built), "
        f"about {ledger_size / 1e6:.0f} MB in the ledger"
    )


def _detectable(study: Study) -> str:
    info = study.dataset_info
    cases, positive, patients = info.num_scored(cross_validated=study.cross_validated)
    # Of the arms that are compared: those of an A/A pair have other seeds beside them.
    compared = [cell for cell in study.cells if study.arm_of(cell) in study.claim.primary]
    seeds = len({cell.seed for cell in compared})
    effect = planned_detectable_effect(
        num_patients=patients or cases,
        num_positive=positive,
        num_negative=cases - positive,
        num_seeds=seeds,
        margin=study.claim.margin,
    )
    whom = f"{patients} patients" if patients else "patients unknown"
    if effect is None:
        plural = "" if seeds == 1 else "s"
        return f"smallest detectable effect: none can be told with {seeds} seed{plural} and {whom}"
    assumed = PlanningAssumptions()
    metric = study.claim.metric_name
    # The AUC of the scarcest class varies most of those that a macro AUC averages.
    which = "positive" if info.num_classes == 2 else "of the scarcest class"
    return (
        f"smallest detectable effect: {effect:.3f} in {metric} (margin {study.claim.margin:g}, "
        f"80 % power; {whom}, {cases} test cases of which {positive} {which}, {seeds} seeds; "
        f"assumed: AUC {assumed.auc:g}, seed SD {assumed.seed_sd:g}, correlation of the arms "
        f"{assumed.arm_correlation:g})"
    )
