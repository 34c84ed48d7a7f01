"""Do tiny batches, which fit into memory, cost accuracy or time? And do very large ones?

Question.  Batches are made small because images are large. What does that cost, and is a large
           batch simply better?
Claims.    Judged together, each by its own margin, corrected by Holm. Both budgets judge (a):
           (a) with batch norm the best of batches 1 to 4 reaches a lower test AUC than the best of
               larger ones, at equal examples seen, and at equal optimiser steps; and with group
               norm, which knows no other example, batch 2 a lower one than batch 32: what is left
               of (a) there is the batch's, what is not was the normalisation's;
           (b) it takes longer to a validation AUC fixed beforehand, in examples and in seconds;
           (c) trained to the same training loss, a batch of 10 % of the training set generalises
               worse than one of 32 (Keskar et al., arXiv:1609.04836);
           (d) and ends in a sharper minimum: φ in all directions, ε = 1e-3.
           "Best" is chosen by the pilot, on validation data and seeds of its own.
Fairness.  The pilot tunes a learning rate for each arm and budget on a log-spaced grid, extended
           where the best lies on its edge. An arm whose best stays there carries no verdict.
           Every arm warms up over the first 5 % of its steps.
Beside it. Normalisation by batch, by group and none at batches 2 and 32, since a batch's own
           statistics are the usual culprit; the way out, micro-batches of 2 accumulated to 32,
           with batch norm, which sees two examples at a time, and with group norm;
           batch 2 whose Adam averages over as many examples as at 32, since a window of ten steps
           is one of twenty examples there;
           sharpness in a random subspace and one that is blind to rescaling; and the gradient
           noise scale's critical batch.
Replicas.  The global batch is the axis; how many replicas share it changes nothing but rounding
           (tests/training/test_distribution.py).

    make batch                                     CT phantom, small, ≤20 minutes on 2 cores
    mlp-med study run batch_size_matters --dataset metastasis_patches --source /path/to/kaggle
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import exp

from experiments.batch_sizes import SIZES as SIZES
from experiments.batch_sizes import BatchSize
from experiments.batch_sizes import sizes_for_table as sizes_for_table
from experiments.time_claims import time_claims
from mlp_med.errors import StudyError
from mlp_med.evidence.claim import METRICS, Claim, Metric
from mlp_med.studies.arm import Arm, own_controls
from mlp_med.studies.pilot import PilotResult

NAME = "batch_size_matters"
QUESTION = "Do small batches cost accuracy or time, and do very large ones generalise worse?"
PILOT_COMMANDS = {"luna16": "make batch-pilot"}
MOST_SMALL = 4  # the largest of the small batches
REFERENCE = 32  # that the small is accumulated to, and that the very large is held against
MICRO_BATCH = 2  # that is accumulated
EXAMPLES, STEPS, MATCHED = "equal examples", "equal steps", "equal training loss"


def claim(size: BatchSize, unit: str, *, phantom: bool, metric: Metric = "auc") -> Claim:
    """The first of the claims."""
    return claims(size, unit, phantom=phantom, metric=metric)[0]


def claims(
    size: BatchSize,
    unit: str,
    *,
    phantom: bool,
    metric: Metric = "auc",
    pilot: PilotResult | None = None,
) -> tuple[Claim, ...]:
    """All claims; without a pilot "best" is the largest of either kind."""
    found = {arm.name: arm.global_batch_size for arm in arms(size, unit, phantom=True)}
    small, large = (_best(found, pilot, EXAMPLES, is_small=is_small) for is_small in (True, False))
    small_steps, large_steps = (
        _best(found, pilot, STEPS, is_small=is_small) for is_small in (True, False)
    )
    very_large, reference = _name(size.large_batch, MATCHED), _name(REFERENCE, MATCHED)
    small_group, large_group = (
        _name(batch, EXAMPLES, norm="group") for batch in (MICRO_BATCH, REFERENCE)
    )
    budget = f"conditional on a budget of {size.budget_examples:,} examples"
    of_steps = f"conditional on a budget of {size.budget_steps:,} steps"
    at_loss = f"at the first evaluation with a training loss of {size.training_loss:g} or less"
    alike = "both with batch norm"
    lower = partial(_lower, size, metric)
    first = replace(
        lower("a, equal examples", small, large, f"{alike}, {budget}"), secondary=_beside(size)
    )
    if not phantom:
        a_a, permuted = own_controls(_reference(size))
        first = replace(first, a_a=(_reference(size).name, a_a.name), permuted=permuted.name)
    return (
        first,
        lower("a, equal steps", small_steps, large_steps, f"{alike}, {of_steps}"),
        lower("a, group norm", small_group, large_group, budget),
        *time_claims(
            size,
            question=QUESTION,
            slower=small,
            quicker=large,
            examples="examples",
            rank=metric,
            budget=f"{alike}, {budget}",
        ),
        lower("c", very_large, reference, at_loss),
        Claim(
            question=QUESTION,
            name="d",
            statement=f"{very_large} ends in a minimum whose sharpness φ exceeds that of "
            f"{reference} by more than {exp(size.margin_log_sharpness):.3g} times, {at_loss}",
            margin=size.margin_log_sharpness,
            primary=(very_large, reference),
            metric="log_sharpness",
        ),
    )


def _lower(
    size: BatchSize, metric: Metric, name: str, worse: str, better: str, condition: str
) -> Claim:
    """That one arm reaches a lower test score than another."""
    return Claim(
        question=QUESTION,
        name=name,
        statement=f"{worse} reaches a lower test {METRICS[metric]} than {better} by more than "
        f"{size.margin_auc:g}, {condition}",
        metric=metric,
        margin=size.margin_auc,
        primary=(better, worse),
    )


def arms(size: BatchSize, unit: str, *, phantom: bool) -> list[Arm]:
    """Every batch by its budget; norms; accumulation; the pair that trains down to a loss.

    Raises:
        StudyError: the training set is too small for a batch that is large beside 32.
    """
    if size.large_batch <= REFERENCE:
        raise StudyError(
            f"10 % of the training set must exceed the batch of {REFERENCE} that it is held "
            f"against, got {size.large_batch}; give the source more scans"
        )
    compared = [
        *(_arm(size, batch, EXAMPLES) for batch in sorted({*size.batches, size.large_batch})),
        *(_arm(size, batch, STEPS) for batch in sorted({*size.batches_of_steps, size.large_batch})),
        *(
            _arm(size, batch, EXAMPLES, norm=norm)
            for norm in ("group", "none")
            for batch in size.batches_of_norms
        ),
        *(
            _arm(size, REFERENCE, EXAMPLES, norm=norm, micro_batch=MICRO_BATCH)
            for norm in ("batch", "group")
        ),
        _arm(size, MICRO_BATCH, EXAMPLES, window=REFERENCE),
        _arm(size, REFERENCE, MATCHED),
        _arm(size, size.large_batch, MATCHED),
    ]
    return compared if phantom else [*compared, *own_controls(_reference(size))]


def _reference(size: BatchSize) -> Arm:
    return _arm(size, REFERENCE, EXAMPLES)


def _arm(
    size: BatchSize,
    batch: int,
    budget: str,
    *,
    norm: str = "batch",
    micro_batch: int | None = None,
    window: int | None = None,
) -> Arm:
    wanted = {
        EXAMPLES: size.budget_examples,
        STEPS: size.budget_steps * batch,
        MATCHED: size.most_examples,
    }[budget]
    num_steps = max(1, round(wanted / batch))
    return size.arm(
        _name(batch, budget, norm=norm, micro_batch=micro_batch, window=window),
        resolution=size.resolution,
        global_batch_size=batch,
        norm=norm,
        accumulation_steps=batch // micro_batch if micro_batch else 1,
        moment_window_batch=window or 0,
        budget_examples=num_steps * batch,
        num_evaluations=min(
            num_steps, size.most_evaluations if budget == MATCHED else size.num_evaluations
        ),
        stop_at_training_loss=size.training_loss if budget == MATCHED else 0.0,
        augment=size.augment and budget != MATCHED,
        settings_of=_settings_of(batch, budget, norm, micro_batch),
    )


def _settings_of(batch: int, budget: str, norm: str, micro_batch: int | None) -> str | None:
    """The arm whose learning rate this one takes, where the pilot need not choose one."""
    if budget == MATCHED:  # to train it to convergence many times over would be dear
        return _name(batch, EXAMPLES)
    if norm == "group" and micro_batch:  # the very same gradient, summed in parts
        return _name(batch, EXAMPLES, norm=norm)
    return None


def _name(
    batch: int,
    budget: str,
    *,
    norm: str = "batch",
    micro_batch: int | None = None,
    window: int | None = None,
) -> str:
    """Names an arm, e.g. "batch 32 of 16 × 2, equal examples" or "batch 2, group norm, …"."""
    parts = [
        f"batch {batch}" + (f" of {batch // micro_batch} × {micro_batch}" if micro_batch else "")
    ]
    parts += [] if norm == "batch" else [f"{norm} norm" if norm == "group" else "no norm"]
    parts += [f"moments over as many examples as at {window}"] if window else []
    return ", ".join([*parts, budget])


def _best(
    found: Mapping[str, int], pilot: PilotResult | None, budget: str, *, is_small: bool
) -> str:
    """The arm of plain batch norm at this budget that validated best in the pilot."""
    names = [
        name
        for name, batch in found.items()
        if name == _name(batch, budget) and (batch <= MOST_SMALL) == is_small
    ]
    if pilot is None:
        return max(names, key=lambda name: found[name])
    return max(names, key=lambda name: pilot.arms[name].validation_auc)


def _beside(size: BatchSize) -> dict[str, tuple[str, str]]:
    """What is shown beside the claims and decides none of them."""
    pairs = {
        f"{'group' if norm == 'group' else 'no'} norm, batch {batch}": (
            _name(batch, EXAMPLES, norm=norm),
            _name(batch, EXAMPLES),
        )
        for batch in size.batches_of_norms
        for norm in ("group", "none")
    }
    accumulated = {
        f"accumulated from {MICRO_BATCH}, {norm} norm": (
            _name(REFERENCE, EXAMPLES, norm=norm, micro_batch=MICRO_BATCH),
            _name(REFERENCE, EXAMPLES, norm=norm),
        )
        for norm in ("batch", "group")
    }
    windowed = _name(MICRO_BATCH, EXAMPLES, window=REFERENCE)
    return {
        **pairs,
        **accumulated,
        f"moments over examples, batch {MICRO_BATCH}": (windowed, _name(MICRO_BATCH, EXAMPLES)),
    }
