"""Flips, quarter turns and shifts that are the same physical transform at every resolution.

The draw of an example is a pure function of (seed, position) and is expressed in resolution-free
terms: which axes are mirrored, whether the axes of the plane are exchanged, and a shift counted in
*coarsest* voxels. So an arm at 1.25 mm and one at 5 mm see the same movement of the same anatomy.
"""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from mlp_med.pipelines.order import random_words


@dataclass(frozen=True)
class Draws:
    """The transforms of a sequence of positions.

    The last two spatial axes are exchanged where `exchange` is set, then the axes in `flips` are
    mirrored, then the crop is moved by `shifts`. Exchange and flips together make every quarter
    turn and reflection of the plane equally probable. In 3D the slice axis is only mirrored, never
    turned into the plane: natively it is sampled more coarsely, and no scan looks like that. The
    axes of a plane whose edges differ cannot be exchanged: there `exchange` is not read.

    Attributes:
        exchange: bool [...].
        flips: bool [..., spatial_dims].
        shifts: int8 [..., spatial_dims], in coarsest voxels, positive towards higher indices.
    """

    exchange: np.ndarray
    flips: np.ndarray
    shifts: np.ndarray


def draw_transforms(
    *, seed: int, start: int, count: int, spatial_dims: int, max_shift: int = 1
) -> Draws:
    """Draws the transforms of positions start … start + count - 1.

    Args:
        seed: of the augmentation.
        start: the first position, i.e. examples seen so far.
        count: number of positions.
        spatial_dims: 2 or 3.
        max_shift: largest shift along an axis, in coarsest voxels; each from -max to max is equally
            probable.
    """
    words = random_words("augment", seed, start=start, count=count)
    bits = (words[:, :1] >> np.arange(1 + spatial_dims, dtype=np.uint64)) & np.uint64(1)
    # The remainder of a 64-bit word: its departure from uniformity is below 2^-60.
    shifts = words[:, 1 : 1 + spatial_dims] % np.uint64(2 * max_shift + 1)
    return Draws(
        exchange=bits[:, 0].astype(bool),
        flips=bits[:, 1:].astype(bool),
        shifts=shifts.astype(np.int8) - np.int8(max_shift),
    )


@tf.function(jit_compile=True, autograph=False)
def transform_crops(
    crops: tf.Tensor,
    exchange: tf.Tensor,
    flips: tf.Tensor,
    shifts: tf.Tensor,
    *,
    voxels_per_shift: int,
) -> tf.Tensor:
    """Applies one draw to each crop of a batch, by index arithmetic and a single gather.

    Compiled by XLA, which training on a CPU is not: the compiled loop moves voxels three times as
    fast, and since it only moves them the result is the same to the bit.

    Args:
        crops: any dtype [batch, *sizes, channels].
        exchange: bool [batch]; not read where the edges of the plane differ.
        flips: bool [batch, spatial_dims].
        shifts: integer [batch, spatial_dims], in coarsest voxels.
        voxels_per_shift: voxels of these crops in one coarsest voxel.

    Returns:
        Crops of the same shape and dtype; what a shift uncovers repeats the edge.
    """
    batch, *sizes, channels = crops.shape
    spatial_dims = len(sizes)
    steps = tf.cast(shifts, tf.int32) * voxels_per_shift
    sources = []
    for axis, size in enumerate(sizes):
        source = tf.clip_by_value(tf.range(size) - steps[:, axis, None], 0, size - 1)
        sources.append(tf.where(flips[:, axis, None], size - 1 - source, source))

    # Index into the flat batch = a sum of one term for each axis, each [batch, size].
    terms = [source * math.prod(sizes[axis + 1 :]) for axis, source in enumerate(sources)]
    if sizes[-2] == sizes[-1]:
        row, column = sources[-2:]
        exchanged = exchange[:, None]
        terms[-2] = tf.where(exchanged, row, terms[-2])
        terms[-1] = tf.where(exchanged, column * sizes[-1], terms[-1])
    flat = tf.reshape(tf.range(batch) * math.prod(sizes), [batch, *[1] * spatial_dims])
    for axis, term in enumerate(terms):
        ones = [1] * spatial_dims
        ones[axis] = sizes[axis]
        flat = flat + tf.reshape(term, [batch, *ones])
    return tf.gather(tf.reshape(crops, [-1, channels]), flat)
