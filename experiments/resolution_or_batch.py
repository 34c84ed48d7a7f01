"""Finer with a small batch, or coarser with a large one? The trade within one memory.

Question.  A memory holds two examples of the finest resolution or a hundred of the coarsest. Which
           of them should it be spent on?
Claim.     Within one budget of memory, the finest resolution with the largest batch that then fits
           ranks test cases better, by more than the margin, than the coarsest resolution with the
           largest batch that then fits: detail is worth more than the batch that it costs.
Budget.    Of memory: above the process and its crops, so that it is the same on every machine, by
           the memory plan (`mlp-med plan`); the report sets what was measured beside it. Of
           training: equal examples, at which the arms of the claim must have converged; where that
           takes too long (small, luna16), the claim is conditional on the budget, and says so.
Beside it. The resolutions between, each with the batch that fits; what the batch does at the
           coarsest resolution, and what resolution does at the smallest batch; and the way out:
           micro-batches at the finest resolution, accumulated to the coarsest's batch, which fit
           as well and pay in time.
Fairness.  A pilot tunes a learning rate for each arm, as in `resolution_matters`. All arms
           normalise by groups of channels: whoever can hold two examples need not normalise by the
           statistics of two, and `batch_size_matters` found that this alone decides there.

    make interaction                               CT phantom, small
    mlp-med study run resolution_or_batch --dataset metastasis_patches --source /path/to/kaggle
"""

from experiments.memory_sizes import SIZES as SIZES
from experiments.memory_sizes import MemorySize
from experiments.memory_sizes import sizes_for_table as sizes_for_table
from mlp_med.capacity.amounts import show_bytes
from mlp_med.evidence.claim import METRICS, Claim, Metric
from mlp_med.studies.arm import Arm, own_controls

NAME = "resolution_or_batch"
QUESTION = "Within one memory: finer with a small batch, or coarser with a large one?"
PILOT_COMMANDS = {"luna16": "make interaction-pilot"}


def claim(size: MemorySize, unit: str, *, phantom: bool, metric: Metric = "auc") -> Claim:
    """The claim, its contrasts and its rule, written before the run."""
    finest, coarsest = size.primary
    small, large = size.batches[finest], size.batches[coarsest]
    fine, coarse = _name(finest, small, unit), _name(coarsest, large, unit)
    controls = own_controls(_arm(size, coarsest, large, unit))
    converges = size.pilot is None or size.pilot.most_budget_examples is not None
    condition = (
        "" if converges else f", conditional on a budget of {size.budget_examples:,} examples"
    )
    between = {
        f"{finest:g} or {resolution:g} {unit}": (fine, _name(resolution, batch, unit))
        for resolution, batch in size.batches.items()
        if finest < resolution < coarsest
    }
    return Claim(
        question=QUESTION,
        statement=(
            f"within {show_bytes(size.memory_bytes)} of memory above the process, "
            f"{finest:g} {unit} with a batch of {small} has a test {METRICS[metric]} that exceeds "
            f"that of {coarsest:g} {unit} with a batch of {large} by more than {size.margin_auc:g}"
            f"{condition}"
        ),
        metric=metric,
        margin=size.margin_auc,
        primary=(fine, coarse),
        secondary={
            **between,
            f"batch, at {coarsest:g} {unit}": (coarse, _name(coarsest, small, unit)),
            f"resolution, at batch {small}": (fine, _name(coarsest, small, unit)),
            "the way out: accumulated": (_name(finest, large, unit, micro_batch=small), fine),
        },
        a_a=None if phantom else (coarse, controls[0].name),
        permuted=None if phantom else controls[1].name,
    )


def arms(size: MemorySize, unit: str, *, phantom: bool) -> list[Arm]:
    """Each resolution with the batch that fits, and the arms that tell the two apart."""
    finest, coarsest = size.primary
    small, large = size.batches[finest], size.batches[coarsest]
    coarse = _arm(size, coarsest, large, unit)
    compared = [
        *(_arm(size, resolution, batch, unit) for resolution, batch in size.batches.items()),
        _arm(size, coarsest, small, unit),
        _arm(size, finest, large, unit, micro_batch=small),
    ]
    return compared if phantom else [*compared, *own_controls(coarse)]


def _arm(
    size: MemorySize, resolution: float, batch: int, unit: str, *, micro_batch: int | None = None
) -> Arm:
    return size.arm(
        _name(resolution, batch, unit, micro_batch=micro_batch),
        resolution=resolution,
        global_batch_size=batch,
        norm="group",
        accumulation_steps=batch // micro_batch if micro_batch else 1,
        num_evaluations=min(size.num_evaluations, size.budget_examples // batch),
    )


def _name(resolution: float, batch: int, unit: str, *, micro_batch: int | None = None) -> str:
    """Names an arm, e.g. "1.25mm, batch 2" or "1.25mm, batch 128 of 64 × 2"."""
    parts = f" of {batch // micro_batch} × {micro_batch}" if micro_batch else ""
    return f"{resolution:g}{unit}, batch {batch}{parts}"
