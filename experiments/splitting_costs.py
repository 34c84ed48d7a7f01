"""What does it cost to train on tiles of an image instead of the whole?

Question.  An image that does not fit into memory is split, or paid for in time. Which costs less?
Claim.     A network that sees the whole field ranks test cases better, by more than a margin of
           AUC, than the same network trained on the 2^d halves of it (2 tiles an axis), each with
           the label of the whole. Same images, same labels, same optimiser steps; the budget counts
           images and not tiles, and a case has one score whatever it was split into.
Beside it. Smaller tiles; tiles as a bag, whose logit is pooled in training too; and the whole field
           in the tiles' memory: micro-batches that recompute, and the first stages streamed, whose
           gradient is the whole image's and which pays in time alone.
Pooling.   From the tiles' scores to the image's by the rule (mean, smooth maximum, maximum) that
           ranks the validation cases best; a bag keeps the smooth maximum that it was trained with.
Norm.      Group normalisation in every arm, since batch statistics of tiles are others than those
           of images. Streamed stages allow neither: that arm has none, and so has one more whole
           arm, its own measure.
Seams.     A crop of luna16 has its candidate in the middle, where an even number of tiles meet:
           every nodule is cut, which is the hardest case for tiles and not the usual one. Tile
           labels from outlined lesions would be those of the image here, for 2 tiles an axis.

    make splitting                                 CT phantom, smoke: the chain; claims nothing
"""

from collections.abc import Mapping
from dataclasses import replace

from experiments.sizes import Size, smoke_size
from mlp_med.evidence.claim import METRICS, Claim, Metric
from mlp_med.studies.arm import Arm, own_controls

NAME = "splitting_costs"
QUESTION = "What does training on tiles instead of the whole image cost?"
SIZES: Mapping[str, Mapping[str, Size]] = {
    # An average over all of the field: its centre would be the centre of no tile.
    "luna16": {"smoke": smoke_size((1.25,), model="residual_small", global_batch_size=16)},
}
SPLITS = (2, 4)  # tiles along each axis
# Micro-batches of the whole field that hold as many voxels as a batch of the larger tiles in 3D.
MICRO_BATCHES = 8
STREAM_TILE = 16  # voxels, of a field of 32

WHOLE, SAME_MEMORY, STREAMED = "whole", "whole, same memory", "whole, streamed"
NO_NORM = "whole, no norm"


def claim(size: Size, unit: str, *, phantom: bool, metric: Metric = "auc") -> Claim:
    """The claim, its contrasts and its rule, written before the run."""
    large, small = SPLITS
    controls = own_controls(_whole(size))
    return Claim(
        question=QUESTION,
        statement=(
            f"trained on the whole field, a network has a test {METRICS[metric]} that exceeds that "
            f"of the same network trained on {large} tiles an axis, each with the label of the "
            f"whole, by more than {size.margin_auc:g}"
        ),
        metric=metric,
        margin=size.margin_auc,
        primary=(WHOLE, tiles_name(large)),
        secondary={
            "smaller tiles": (WHOLE, tiles_name(small)),
            "a bag of tiles": (WHOLE, bag_name(large)),
            "a bag of smaller tiles": (WHOLE, bag_name(small)),
            "the tiles' memory": (SAME_MEMORY, tiles_name(large)),
            "streamed": (NO_NORM, STREAMED),
        },
        a_a=None if phantom else (WHOLE, controls[0].name),
        permuted=None if phantom else controls[1].name,
    )


def arms(size: Size, unit: str, *, phantom: bool) -> list[Arm]:
    """The whole field in three ways, tiles with its label and as a bag; on real data controls."""
    whole = _whole(size)
    no_norm = replace(whole, name=NO_NORM, norm="none")
    compared = [
        whole,
        replace(whole, name=SAME_MEMORY, accumulation_steps=MICRO_BATCHES, recompute=True),
        no_norm,
        replace(
            no_norm,
            name=STREAMED,
            accumulation_steps=MICRO_BATCHES,
            stream_tile=STREAM_TILE,
            settings_of=NO_NORM,
        ),
    ]
    for split in SPLITS:
        tiles = replace(whole, name=tiles_name(split), split=split)
        compared += [tiles, replace(tiles, name=bag_name(split), tile_labels="bag")]
    return compared if phantom else [*compared, *own_controls(whole)]


def tiles_name(split: int) -> str:
    """Names the arm of so many tiles an axis, each with the image's label."""
    return f"{split} tiles an axis"


def bag_name(split: int) -> str:
    """Names the arm of so many tiles an axis as a bag."""
    return f"{split} tiles an axis, bag"


def _whole(size: Size) -> Arm:
    (resolution,) = size.resolutions
    return Arm(
        name=WHOLE,
        resolution=resolution,
        grid=resolution,
        control="none",
        model=size.model,
        norm="group",
        global_batch_size=size.global_batch_size,
        learning_rate=size.learning_rate,
        budget_examples=size.budget_examples,
        num_evaluations=size.num_evaluations,
        augment=size.augment,
        intra_op_threads=size.intra_op_threads,
    )
