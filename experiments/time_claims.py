"""The claims that studies make of time to a target, each beside its claim of accuracy."""

from collections.abc import Mapping

from experiments.sizes import OneResolutionSize
from mlp_med.evidence.claim import METRICS, Claim, Metric


def time_claims(
    size: OneResolutionSize,
    *,
    question: str,
    slower: str,
    quicker: str,
    examples: str,
    rank: Metric,
    budget: str,
) -> list[Claim]:
    """That one arm takes longer than another to a validation AUC, in examples and in seconds.

    Args:
        size: states the target and the margin.
        question: of the study.
        slower: name of the arm that is said to take longer.
        quicker: name of the other.
        examples: what the study calls its examples: "examples" or "images".
        rank: what the target is a value of.
        budget: what the claim is conditional on.
    """
    of_time: Mapping[str, Metric] = {examples: "examples_to_target", "seconds": "seconds_to_target"}
    return [
        Claim(
            question=question,
            name=f"b, {counted}",
            statement=f"{slower} takes longer than {quicker} to a validation {METRICS[rank]} of "
            f"{size.target_auc:g}, twice in a row, in {counted}, by more than "
            f"{size.margin_time:.0%} of their common horizon, {budget}",
            margin=size.margin_time,
            primary=(slower, quicker),
            metric=metric,
            target=size.target_auc,
        )
        for counted, metric in of_time.items()
    ]
