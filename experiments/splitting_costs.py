"""What does it cost to train on tiles of an image instead of the whole?

Question.  An image that does not fit into memory is split, or paid for in time. Which costs less?
Claims.    Judged together, each by its own margin, corrected by Holm. "The best tiles" are the arm
           of tiles with image labels alone (2 or 4 tiles an axis, each with the label of the whole
           or as a bag) that the pilot found best on validation data and seeds of its own:
           (a) the whole field reaches a higher test AUC than the best tiles, at equal labels;
           (b) the best tiles take longer to a validation AUC fixed beforehand, in images and in
               seconds;
           (c) the whole field reaches a higher test AUC with half of the labels than the best
               tiles with all: for equal accuracy splitting then takes more than twice the labels;
           (d) tiles whose labels come from drawn lesions, the better of 2 and 4 an axis, reach a
               higher test AUC than the best tiles: what splitting loses is then to be had for
               labels, whose number the report gives.
Images.    The budget counts images and not tiles, and a case has one score whatever it was split
           into. `luna16_fields`: a nodule lies anywhere in its field, in one tile or cut by a
           border. What the borders cost is the effect among nodules that are cut against that among
           the others (seams).
Labels.    Every training image has a label; where tiles are labelled by lesions, every lesion has
           to be drawn as well.
Pooling.   From the tiles' scores to the image's by the rule (mean, smooth maximum, maximum) that
           ranks the validation cases best; a bag keeps the smooth maximum that it was trained with.
Beside it. The whole field in the tiles' memory: micro-batches that recompute, and the first stages
           streamed, whose gradient is the whole image's and which pays in time alone.
Norm.      Group normalisation in every arm, since batch statistics of tiles are others than those
           of images. Streamed stages allow neither: that arm has none, and so has one more whole
           arm, its own measure.
Pilot.     A learning rate for each arm. An arm of fewer labels, one in less memory and the streamed
           one take over that of the arm that they are otherwise.

    make splitting                                 CT phantom, small, ≤20 minutes on 2 cores
    mlp-med study run splitting_costs --dataset luna16_fields --source /path/to/LUNA16 --size full
"""

from dataclasses import replace

from experiments.more_data import fraction_name
from experiments.splitting_sizes import SIZES as SIZES
from experiments.splitting_sizes import SplittingSize
from experiments.time_claims import time_claims
from mlp_med.evidence.claim import METRICS, Claim, Metric
from mlp_med.studies.arm import Arm, own_controls
from mlp_med.studies.pilot import PilotResult

NAME = "splitting_costs"
QUESTION = "What does training on tiles instead of the whole image cost?"
PILOT_COMMANDS = {"luna16_fields": "make splitting-pilot"}
WHOLE, SAME_MEMORY, STREAMED = "whole", "whole, same memory", "whole, streamed"
NO_NORM = "whole, no norm"
HALF = 0.5
TILES = {"image": "image labels", "bag": "a bag", "lesion": "drawn lesions"}


def claim(size: SplittingSize, unit: str, *, phantom: bool, metric: Metric = "auc") -> Claim:
    """The first of the claims."""
    return claims(size, unit, phantom=phantom, metric=metric)[0]


def claims(
    size: SplittingSize,
    unit: str,
    *,
    phantom: bool,
    metric: Metric = "auc",
    pilot: PilotResult | None = None,
) -> tuple[Claim, ...]:
    """All claims; without a pilot "best" is the larger tiles, with the label of the whole."""
    tiles = _best(size, pilot, ("image", "bag"))
    drawn = _best(size, pilot, ("lesion",))
    half = fraction_name(WHOLE, HALF)
    rank, margin = METRICS[metric], size.margin_auc
    budget = f"conditional on a budget of {size.budget_examples:,} images"
    accuracy = Claim(
        question=QUESTION,
        name="a, equal labels",
        statement=f"{WHOLE} reaches a higher test {rank} than {tiles} by more than {margin:g}, "
        f"with the same image labels, {budget}",
        metric=metric,
        margin=margin,
        primary=(WHOLE, tiles),
        secondary=_beside(size, tiles),
    )
    if not phantom:
        a_a, permuted = own_controls(_whole(size))
        accuracy = replace(accuracy, a_a=(WHOLE, a_a.name), permuted=permuted.name)
    times = time_claims(
        size,
        question=QUESTION,
        slower=tiles,
        quicker=WHOLE,
        examples="images",
        rank=metric,
        budget=budget,
    )
    return (
        accuracy,
        *times,
        Claim(
            question=QUESTION,
            name="c, half of the labels",
            statement=f"{half}, and so half of the labels, reaches a higher test {rank} than "
            f"{tiles} with all of them by more than {margin:g}, {budget}",
            metric=metric,
            margin=margin,
            primary=(half, tiles),
        ),
        Claim(
            question=QUESTION,
            name="d, drawn lesions",
            statement=f"{drawn} reaches a higher test {rank} than {tiles} by more than {margin:g}, "
            f"for a label more a lesion, {budget}",
            metric=metric,
            margin=margin,
            primary=(drawn, tiles),
        ),
    )


def arms(size: SplittingSize, unit: str, *, phantom: bool) -> list[Arm]:
    """The whole field in its ways and by its labels, tiles by theirs; on real data controls."""
    whole = _whole(size)
    no_norm = replace(whole, name=NO_NORM, norm="none")
    in_parts = {"accumulation_steps": size.micro_batches}
    compared = [
        whole,
        replace(whole, name=SAME_MEMORY, recompute=True, settings_of=WHOLE, **in_parts),
        no_norm,
        replace(
            no_norm,
            name=STREAMED,
            stream_tile=size.stream_tile,
            settings_of=NO_NORM,
            **in_parts,
        ),
        *(
            replace(
                whole,
                name=fraction_name(WHOLE, fraction),
                training_fraction=fraction,
                settings_of=WHOLE,
            )
            for fraction in size.fractions
        ),
        *(
            replace(whole, name=tiles_name(split, labels), split=split, tile_labels=labels)
            for split in size.splits
            for labels in TILES
        ),
    ]
    return compared if phantom else [*compared, *own_controls(whole)]


def tiles_name(split: int, labels: str) -> str:
    """Names the arm of so many tiles an axis, e.g. "2 tiles an axis, drawn lesions"."""
    return f"{split} tiles an axis, {TILES[labels]}"


def _best(size: SplittingSize, pilot: PilotResult | None, labels: tuple[str, ...]) -> str:
    """The arm of tiles with one of these kinds of labels that validated best in the pilot."""
    names = [tiles_name(split, kind) for split in size.splits for kind in labels]
    return max(names, key=lambda name: pilot.arms[name].validation_auc) if pilot else names[0]


def _beside(size: SplittingSize, tiles: str) -> dict[str, tuple[str, str]]:
    """What is shown beside the claims and decides none of them."""
    return {
        "the tiles' memory": (WHOLE, SAME_MEMORY),
        "streamed": (NO_NORM, STREAMED),
        **{
            name: (WHOLE, name)
            for split in size.splits
            for kind in TILES
            if (name := tiles_name(split, kind)) != tiles
        },
        **{
            f"labels: {fraction:g} of them": (WHOLE, fraction_name(WHOLE, fraction))
            for fraction in size.fractions
        },
    }


def _whole(size: SplittingSize) -> Arm:
    return size.arm(
        WHOLE,
        resolution=size.resolution,
        global_batch_size=size.global_batch_size,
        norm="group",
    )
