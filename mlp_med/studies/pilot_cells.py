"""The pilot's training runs: cells in the ledger like any other, under a run of their own."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mlp_med.errors import StudyError
from mlp_med.evidence.claim import Claim
from mlp_med.ledger.read import StudyRecord
from mlp_med.phantoms.release import drawing
from mlp_med.studies.arm import FIRST_PILOT_SEED, Arm
from mlp_med.studies.cell import Cell
from mlp_med.studies.pilot import PilotDesign, PilotResult, Trial, run_pilot
from mlp_med.studies.planning import OpenedDataset
from mlp_med.studies.provenance import code_digest, common_code_digest
from mlp_med.studies.study import Study

RunStudy = Callable[[Study], StudyRecord]


def pilot_study(
    *,
    name: str,
    size: str,
    claim: Claim,
    arms: Sequence[Arm],
    design: PilotDesign,
    dataset: OpenedDataset,
    precision: str,
    run: RunStudy,
) -> PilotResult:
    """Runs the pilot of a study; a pilot that was interrupted goes on from its done cells.

    Args:
        name: of the study; the pilot's own is "<name>_pilot".
        size: of the study.
        claim: of the study.
        arms: of the study, with the budget to begin at.
        design: what to try.
        dataset: opened at every resolution of the arms.
        precision: of every cell.
        run: runs a study's missing cells and returns what the ledger then knows.

    Raises:
        StudyError: see `run_pilot`.
    """
    cells: dict[Trial, Cell] = {}
    last: list[StudyRecord] = []

    def score(trials: Sequence[Trial]) -> Mapping[Trial, float | None]:
        new = [trial for trial in dict.fromkeys(trials) if trial not in cells]
        cells.update({trial: _cell(trial, dataset, precision) for trial in new})
        if new:
            last[:] = [run(_study(name, size, claim, arms, design, dataset, cells))]
        return {trial: _validation_auc(last[0], cells[trial]) for trial in trials}

    result = run_pilot(arms, claim, design, score)
    origin = {
        "pilot_run": last[0].run_id,
        "source_digest": dataset.info.source_digest,
        "code_digest": code_digest(dataset.info.name),
        "drawing": drawing(Path(dataset.info.source)),
    }
    return replace(result, origin=origin)


def _cell(trial: Trial, dataset: OpenedDataset, precision: str) -> Cell:
    arm = replace(
        trial.arm,
        learning_rate=trial.learning_rate,
        budget_examples=trial.budget_examples,
        first_seed=FIRST_PILOT_SEED,
    )
    return dataset.cell(arm, trial.seed, precision, scored_split="validation")


def _study(
    name: str,
    size: str,
    claim: Claim,
    arms: Sequence[Arm],
    design: PilotDesign,
    dataset: OpenedDataset,
    cells: Mapping[Trial, Cell],
) -> Study:
    base = json.dumps([[str(arm) for arm in arms], str(design), sorted(dataset.digests.values())])
    # The dearest first, so that no core waits long for the last one.
    ordered = sorted(cells, key=lambda trial: (trial.arm.grid, -trial.budget_examples))
    return Study(
        name=f"{name}_pilot",
        size=size,
        claim=claim,
        cells=tuple(cells[trial] for trial in ordered),
        arm_names={cells[trial].hash: _arm_name(trial) for trial in ordered},
        dataset_info=dataset.info,
        code_digest=code_digest(dataset.info.name),
        common_code_digest=common_code_digest(),
        no_verdict_reason="a pilot chooses learning rates and the budget; it claims nothing",
        identity=(base,),
    )


def _arm_name(trial: Trial) -> str:
    return (
        f"{trial.arm.name}, learning rate {trial.learning_rate:g}, {trial.budget_examples} examples"
    )


def _validation_auc(record: StudyRecord, cell: Cell) -> float | None:
    """None where training itself failed; any other failure stops the pilot."""
    found = next(known for known in record.cells if known.hash == cell.hash)
    if found.state == "done":
        return found.metrics["best_validation_auc"]
    kind = found.failure.kind if found.failure else found.state
    if kind == "non_finite_loss":
        return None
    raise StudyError(
        f"the pilot stopped: {found.arm}, seed {found.params['seed']} is {found.state} ({kind}); "
        "mend what stopped it and start again: done cells are kept"
    )
