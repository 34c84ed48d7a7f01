"""What a reader of a verdict on two files has to know about them, in sentences."""

from mlp_med.evidence.pairing import PairedPredictions
from mlp_med.reports.strata import Strata


def left_out(predictions: PairedPredictions) -> list[str]:
    """Cases that were dropped, in words; none if none were."""
    if not any(predictions.dropped):
        return []
    (a, b), (from_a, from_b) = (predictions.a, predictions.b), predictions.dropped
    return [
        f"only the {predictions.num_cases:,} cases that both scored: {from_a:,} of {a.name} and "
        f"{from_b:,} of {b.name} were dropped"
    ]


def on_files(predictions: PairedPredictions) -> list[str]:
    """What a reader has to know about the two files."""
    notes = [f"{text[0].upper()}{text[1:]}." for text in left_out(predictions)]
    for arm in (predictions.a, predictions.b):
        if not arm.has_seeds:
            notes.append(f"{arm.name} has no column seed; its rows were taken to be of one seed.")
        if arm.ignored_columns:
            notes.append(f"Columns of {arm.name} not used: {', '.join(arm.ignored_columns)}.")
        if arm.merged_scores:
            notes.append(
                f"The sigmoid made {arm.merged_scores} distinct logits of {arm.name} equal to "
                "others; such ties count half in the AUC."
            )
    return notes


def on_strata(predictions: PairedPredictions, strata: Strata) -> list[str]:
    """Columns that say nothing, and those whose effects were not tested against each other."""
    notes = [
        f"{column} is the same for all cases that have it: there is nothing to break down by."
        for column in predictions.by
        if predictions.table_a[column].replace("", None).nunique() == 1
    ]
    untested = [column for column in strata.effects if column not in strata.tested]
    if untested:
        notes.append(
            f"Whether the difference differs by {', '.join(untested)} was not tested: that takes "
            "two seeds an arm and enough cases of both classes."
        )
    return notes
