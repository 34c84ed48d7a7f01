"""Two studies side by side, arm by arm: of two commits, two machines, or two questions.

Nothing is pooled. Arms are the same where their cells differ in their seeds alone; else those of
one name, whose fields may differ, which is then told. A difference of AUC has an interval where
both scored the same test cases, by the rule of every contrast here (`mlp_med.evidence.contrast`);
seeds of one number are taken as independent, so that it is too wide rather than too narrow where
two studies trained the same cells.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlp_med.errors import EvidenceError, LedgerError
from mlp_med.evidence.contrast import compare_arms
from mlp_med.ledger.read import CellRecord, StudyRecord, load_predictions
from mlp_med.ledger.store import Ledger
from mlp_med.reports.study_data import StudyData, load_study_data
from mlp_med.studies.comparison import Comparison as CellComparison
from mlp_med.studies.comparison import compare_predictions

# Fields that tell a cell from the others of its arm.
OF_A_CELL = ("seed", "fold")
UNCERTAIN = "one seed, or nothing varies: no interval"


@dataclass(frozen=True)
class Side:
    """One of the two studies, read from its own ledger."""

    ledger: Ledger
    record: StudyRecord


@dataclass(frozen=True, kw_only=True)
class ArmComparison:
    """One arm in both studies.

    Attributes:
        arm: its name, that of A where they differ.
        changed: fields of its cells that differ, by name: (in A, in B).
        seeds: done seeds in A and B.
        auc: mean test AUC (macro AUC of more than two classes) in A and B.
        effect: B minus A.
        ci_low, ci_high: its 95 % interval; None where there is none, and `unpaired` says why.
        unpaired: "" where there is an interval.
        seconds_ratio: mean time of a whole cell, B over A; None where one side did not record it.
        memory_ratio: largest peak memory of a cell, B over A; None likewise.
        same_cells: cells whose hash is in both.
        identical: of these, how many scored the same bit for bit.
        largest_difference: of a score of these; None without such cells, or where they scored
            other cases.
    """

    arm: str
    changed: Mapping[str, tuple[Any, Any]]
    seeds: tuple[int, int]
    auc: tuple[float, float]
    effect: float
    ci_low: float | None
    ci_high: float | None
    unpaired: str
    seconds_ratio: float | None
    memory_ratio: float | None
    same_cells: int
    identical: int
    largest_difference: float | None


@dataclass(frozen=True)
class Comparison:
    """Two studies side by side.

    Attributes:
        phantom: either's data were drawn.
        arms: those that are in both, in A's order.
        only: arms with done cells that are in A alone, and in B alone.
        differs: what the studies depend on that differs: versions, processor, commit, code, data,
            claim; by name: (in A, in B).
    """

    phantom: bool
    arms: tuple[ArmComparison, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]
    differs: Mapping[str, tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare_studies(a: Side, b: Side, *, seed: int = 0) -> Comparison:
    """Puts the done cells of two studies side by side.

    Args:
        a: one study.
        b: the other, of the same ledger or another.
        seed: of the resampling.

    Raises:
        LedgerError: they are one and the same study, or no arm has a done cell in both.
        EvidenceError: they were trained on other crops of the same resolution.
    """
    if a.record.run_id == b.record.run_id:
        raise LedgerError(f"expected two studies, got {a.record.run_id} twice")
    _refuse_other_crops(a.record, b.record)
    data = load_study_data(a.ledger, a.record), load_study_data(b.ledger, b.record)
    pairs = dict(_same_arms(a.record, b.record))
    if not pairs:
        raise LedgerError(
            f"expected an arm with finished cells in both, got {', '.join(_arms(a.record))} in "
            f"{a.record.run_id} and {', '.join(_arms(b.record))} in {b.record.run_id}"
        )
    return Comparison(
        phantom=any(side.record.tags.get("phantom") == "true" for side in (a, b)),
        arms=tuple(_compare_arm(a, b, data, pair, seed) for pair in pairs.items()),
        only=(
            tuple(arm for arm in _arms(a.record) if arm not in pairs),
            tuple(arm for arm in _arms(b.record) if arm not in pairs.values()),
        ),
        differs=_differences(a.record, b.record),
    )


def _refuse_other_crops(a: StudyRecord, b: StudyRecord) -> None:
    """Crops of one dataset and resolution must be the same ones: other crops, other question."""
    digests = [
        {(cell.params["dataset"], cell.params["resolution"]): cell for cell in record.cells}
        for record in (a, b)
    ]
    names = [{name for name, _ in found} for found in digests]
    if names[0] != names[1]:
        raise EvidenceError(
            f"expected two studies of one dataset, got {', '.join(sorted(names[0]))} and "
            f"{', '.join(sorted(names[1]))}: their test cases have nothing in common"
        )
    for (name, resolution), cell in digests[0].items():
        other = digests[1].get((name, resolution))
        if other is None or other.params["dataset_digest"] == cell.params["dataset_digest"]:
            continue
        raise EvidenceError(
            f"the crops of {name} at {resolution:g} are others: digest "
            f"{cell.params['dataset_digest'][:12]} in {a.run_id}, "
            f"{other.params['dataset_digest'][:12]} in {b.run_id}; they were built of other scans "
            "or by other code, so a difference would be of the data. Choose studies of one build "
            "by their run ids (MLflow's UI shows each cell's data digest)"
        )


def _same_arms(a: StudyRecord, b: StudyRecord) -> Iterator[tuple[str, str]]:
    """Arms with done cells in both: of the same fields first, else of the same name.

    An arm and its A/A control have the same fields, so among those of the same fields the name
    decides.
    """
    first, second = _arms(a), _arms(b)
    found: dict[str, str] = {}
    for by_name, by_fields in ((True, True), (False, True), (True, False)):
        for arm, cell in first.items():
            if arm in found:
                continue
            for other, theirs in second.items():
                named = not by_name or other == arm
                alike = not by_fields or _fields(theirs) == _fields(cell)
                if named and alike and other not in found.values():
                    found[arm] = other
                    break
    yield from ((arm, found[arm]) for arm in first if arm in found)


def _arms(record: StudyRecord) -> dict[str, CellRecord]:
    """A done cell of each arm by the arm's name."""
    found: dict[str, CellRecord] = {}
    for cell in record.in_state("done"):
        found.setdefault(cell.arm, cell)
    return found


def _fields(cell: CellRecord) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((key, val) for key, val in cell.params.items() if key not in OF_A_CELL))


def _compare_arm(
    a: Side, b: Side, data: tuple[StudyData, StudyData], pair: tuple[str, str], seed: int
) -> ArmComparison:
    one, other = (_arms(side.record)[arm] for side, arm in zip((a, b), pair, strict=True))
    rows = [each.cells[each.cells["arm"] == arm] for each, arm in zip(data, pair, strict=True)]
    tables = [each.predictions.get(arm) for each, arm in zip(data, pair, strict=True)]
    aucs = [float(each["test_auc"].mean()) for each in rows]
    effect, unpaired = aucs[1] - aucs[0], "no seed has all its folds"
    interval: tuple[float | None, float | None] = (None, None)
    if tables[0] is not None and tables[1] is not None:
        effect, interval, unpaired = _effect(tables[0], tables[1], effect, seed)
    same = _compare_cells(a, b, pair)
    differences = [cell.largest_difference for cell in same]
    return ArmComparison(
        arm=pair[0],
        changed={
            name: (one.params[name], other.params.get(name))
            for name in one.params
            if name not in OF_A_CELL and one.params[name] != other.params.get(name)
        },
        seeds=(rows[0]["seed"].nunique(), rows[1]["seed"].nunique()),
        auc=(aucs[0], aucs[1]),
        effect=effect,
        ci_low=interval[0],
        ci_high=interval[1],
        unpaired=unpaired,
        seconds_ratio=_ratio(rows, "seconds_total", "mean"),
        memory_ratio=_ratio(rows, "peak_memory_bytes", "max"),
        same_cells=len(same),
        identical=sum(cell.identical for cell in same),
        largest_difference=max(differences) if same and np.isfinite(differences).all() else None,
    )


def _effect(
    a: pd.DataFrame, b: pd.DataFrame, without: float, seed: int
) -> tuple[float, tuple[float | None, float | None], str]:
    """B minus A with its interval, or why there is none."""
    try:
        contrast = compare_arms(b, a, seed=seed)
    except EvidenceError as error:
        return without, (None, None), str(error)
    why = UNCERTAIN if contrast.ci_low is None else ""
    return contrast.effect, (contrast.ci_low, contrast.ci_high), why


def _compare_cells(a: Side, b: Side, pair: tuple[str, str]) -> list[CellComparison]:
    """Those cells whose hash is in both, as a rerun is held against its run."""
    done = [
        {cell.hash: cell for cell in side.record.in_state("done") if cell.arm == arm}
        for side, arm in zip((a, b), pair, strict=True)
    ]
    return [
        compare_predictions(
            load_predictions(a.ledger, done[0][known].run_id),
            load_predictions(b.ledger, done[1][known].run_id),
        )
        for known in done[0].keys() & done[1].keys()
    ]


def _ratio(rows: Sequence[pd.DataFrame], metric: str, of: str) -> float | None:
    first, second = (float(getattr(each[metric], of)()) for each in rows)
    return second / first if np.isfinite([first, second]).all() and first > 0 else None


def _differences(a: StudyRecord, b: StudyRecord) -> dict[str, tuple[str, str]]:
    first, second = _described(a), _described(b)
    return {
        name: (first.get(name, "not recorded"), second.get(name, "not recorded"))
        for name in {**first, **second}
        if first.get(name) != second.get(name)
    }


def _described(record: StudyRecord) -> dict[str, str]:
    """What a study's figures depend on, by name."""
    tags = record.tags
    known = {
        name: tags[name]
        for name in ("size", "commit", "processor", "num_cores", "python")
        if name in tags
    }
    known |= {name: value for name, value in sorted(tags.items()) if name.startswith("version.")}
    plan = record.plan
    return {
        "study": record.name,
        **known,
        "code digest": str(plan.get("code_digest")),
        "source digest": str(plan["dataset"].get("source_digest")),
        "claim": str(plan["claim"]["statement"]),
        "margin": f"{plan['claim']['margin']:g}",
    }
