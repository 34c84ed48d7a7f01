"""A residual CNN for crops of any grid, in 2D or 3D."""

from collections.abc import Callable, Sequence
from typing import Literal

import keras
import numpy as np

from mlp_med.models.convolution import Convolution3D, SpaceToDepth
from mlp_med.models.normalization import (
    FusedBatchNormalization,
    GroupNormalization,
    NoNormalization,
)
from mlp_med.models.pooled_normalization import PooledNormalization
from mlp_med.models.pooling import AverageOverCentre, MaxPooling2D, MaxPooling3D
from mlp_med.models.recomputation import RecomputedConvolutions
from mlp_med.models.streaming import stream

Norm = Literal["batch", "group", "none"]
Pooling = Literal["all", "centre"]
VIEWS = ("cc", "cc", "mlo", "mlo")  # of the four mammograms of an exam: left, right, left, right


def build_model(
    *,
    spatial_dims: int,
    num_channels: int,
    num_classes: int = 2,
    widths: Sequence[int] = (16, 32, 64, 128),
    blocks_per_stage: int = 1,
    num_extra_stages: int = 0,
    norm: Norm = "batch",
    stem_stride: int = 2,
    stem_kernel: int = 3,
    pooling: Pooling = "all",
    num_views: int = 1,
    recompute: bool = False,
    stream_tile: int = 0,
    seed: int = 0,
) -> keras.Model:
    """A pre-activation residual network (He et al. 2016) that ends in one logit, or one a class.

    The stem folds blocks of voxels into channels before it convolves, so that little is done at
    full resolution; each stage after the first halves the grid by max-pooling; the last grid is
    averaged, all of it or its central half along each axis, whatever its size. The same weights
    therefore serve crops of any size.

    Args:
        spatial_dims: 2 for [height, width, channels], 3 for [depth, height, width, channels].
        num_channels: of the input.
        num_classes: with two there is one logit, the log odds of label 1; with more there is one a
            class, for a softmax.
        widths: channels of each stage.
        blocks_per_stage: residual blocks of two convolutions in each.
        num_extra_stages: stages of the first width put before the others, each of which halves the
            grid once more: one an octave of finer grid keeps the receptive field in mm.
        norm: "batch" (statistics over all replicas), "group", or "none" (biases instead, and blocks
            that begin as the identity).
        stem_stride: voxels along an edge of the stem's blocks, the last filled up with zeros.
        stem_kernel: blocks along an edge of its convolution. With 1 no two blocks are seen at once,
            as in ConvNeXt (Liu et al. 2022): large blocks have so many channels that 3³ of them
            would take more time than the rest of the network.
        num_views: 4 where the channels are four mammograms: L-CC, R-CC, L-MLO, R-MLO. Both breasts
            then share a column for CC and another for MLO, and the logits are of the four columns'
            features together (Geras et al. 2017, arXiv:1703.07047).
        pooling: "all" of the last grid, or its "centre", for crops about what the label speaks of:
            a nodule fills 0.3 % of its field, and a mean over all of it learns several times
            more slowly.
        recompute: keep no activation for the backward pass that a normalisation can give again:
            about half the memory, a few per cent more time, the same gradients.
        stream_tile: edge in voxels of the tiles that all stages but the last are run in, one after
            the other (`mlp_med.models.streaming`); 0 for the whole at once. Trains with norm "none"
            or frozen statistics alone, on grids that are known when the step is traced.
        seed: of the initial weights. The same seed gives the same weights.

    Returns:
        A model from [batch, *grid, num_channels] to logits float32 [batch, 1], or [batch,
        num_classes] with more than two; dtypes between follow Keras' policy at the time of the
        call.

    Raises:
        ValueError: an argument is out of its range.
        StreamingError: tiles are asked for with norm "group".
    """
    _check(spatial_dims, widths, blocks_per_stage, num_extra_stages, norm, pooling)
    if num_classes < 2:
        raise ValueError(f"expected at least 2 classes, got {num_classes}")
    if stem_stride < 1 or stem_kernel < 1:
        raise ValueError(
            "expected blocks of at least one voxel and a convolution of at least one block, got "
            f"{stem_stride} and {stem_kernel}"
        )
    if stream_tile < 0:
        raise ValueError(f"expected tiles of at least one voxel, or 0 for none, got {stream_tile}")
    if num_views not in (1, len(VIEWS)) or num_channels % num_views:
        raise ValueError(
            f"expected 1 view, or {len(VIEWS)} that share the channels, got {num_views} views of "
            f"{num_channels} channels"
        )
    network = _Layers(spatial_dims, norm, recompute, seed)
    inputs = keras.Input((*[None] * spatial_dims, num_channels), name="image")
    stages = [widths[0]] * num_extra_stages + list(widths)

    def features(x: keras.KerasTensor) -> keras.KerasTensor:
        if stem_stride > 1:
            x = SpaceToDepth(block=stem_stride, name="stem_blocks")(x)
        x = network.convolution(widths[0], kernel_size=stem_kernel, name="stem")(x)
        for stage, width in enumerate(stages):
            for block in range(blocks_per_stage):
                halve = stage > 0 and block == 0
                x = network.residual_block(x, width, halve=halve, name=f"stage{stage}_block{block}")
        return network.average(network.normalization("final_norm")(x), pooling)

    def tiled(model: keras.Model) -> keras.Model:
        if not stream_tile:
            return model
        last = f"stage{max(0, len(stages) - 2)}_block{blocks_per_stage - 1}_sum"
        return stream(model, after=last, tile_size=stream_tile)

    x = features(inputs) if num_views == 1 else _four_columns(inputs, features, tiled)
    logits = keras.layers.Dense(
        1 if num_classes == 2 else num_classes,
        kernel_initializer=keras.initializers.GlorotNormal(seed=network.next_seed()),
        dtype="float32",
        name="logit",
    )(x)
    model = keras.Model(inputs, logits, name="residual")
    return tiled(model) if num_views == 1 else model


def _four_columns(
    inputs: keras.KerasTensor,
    features: Callable[[keras.KerasTensor], keras.KerasTensor],
    tiled: Callable[[keras.Model], keras.Model],
) -> keras.KerasTensor:
    """The features of the four views side by side; one column a kind of view."""
    width = inputs.shape[-1] // len(VIEWS)
    columns = {}
    for kind in dict.fromkeys(VIEWS):
        view = keras.Input((*inputs.shape[1:-1], width), name=f"{kind}_view")
        columns[kind] = tiled(keras.Model(view, features(view), name=f"{kind}_column"))
    parts = [
        columns[kind](inputs[..., number * width : (number + 1) * width])
        for number, kind in enumerate(VIEWS)
    ]
    return keras.layers.Concatenate(name="four_views")(parts)


class _Layers:
    """Makes the network's layers, each with the next seed of the sequence."""

    def __init__(self, spatial_dims: int, norm: Norm, recompute: bool, seed: int):
        self._convolution = {2: keras.layers.Conv2D, 3: Convolution3D}[spatial_dims]
        self._pooling = {2: MaxPooling2D, 3: MaxPooling3D}[spatial_dims]
        self._average = {
            2: keras.layers.GlobalAveragePooling2D,
            3: keras.layers.GlobalAveragePooling3D,
        }[spatial_dims]
        self._norm = norm
        self._recompute = recompute
        self._seeds = np.random.default_rng(seed)

    def next_seed(self) -> int:
        return int(self._seeds.integers(2**31))

    def convolution(
        self, width: int, *, kernel_size: int = 3, zeros: bool = False, name: str
    ) -> keras.layers.Layer:
        seed = self.next_seed()
        return self._convolution(
            width,
            kernel_size,
            padding="same",
            use_bias=self._norm == "none",
            kernel_initializer="zeros" if zeros else keras.initializers.HeNormal(seed=seed),
            name=name,
        )

    def normalization(self, name: str, *, relu: bool = True) -> keras.layers.Layer:
        kinds: dict[str, type[keras.layers.Layer]] = {
            "batch": FusedBatchNormalization,
            "group": GroupNormalization,
            "none": NoNormalization,
        }
        return kinds[self._norm](relu=relu, name=name)

    def residual_block(
        self, x: keras.KerasTensor, width: int, *, halve: bool, name: str
    ) -> keras.KerasTensor:
        convolutions = []
        if projected := halve or x.shape[-1] != width:
            convolutions.append(self.convolution(width, kernel_size=1, name=f"{name}_shortcut"))
        convolutions.append(self.convolution(width, name=f"{name}_conv1"))
        norm = self.normalization(f"{name}_norm1", relu=not halve)
        if halve:
            # "same" keeps at least one voxel, however coarse the grid has become.
            pool = self._pooling(2, padding="same", name=f"{name}_pool")
            norm = PooledNormalization(norm, pool, name=f"{name}_pooled_norm1")
        outputs = self.activated_convolutions(x, norm, convolutions)
        shortcut = outputs[0] if projected else x
        # Without normalisation a sum of blocks would grow with depth, so each begins as nothing.
        last = self.convolution(width, zeros=self._norm == "none", name=f"{name}_conv2")
        norm = self.normalization(f"{name}_norm2")
        (y,) = self.activated_convolutions(outputs[-1], norm, [last])
        return keras.layers.Add(name=f"{name}_sum")([shortcut, y])

    def activated_convolutions(
        self, x: keras.KerasTensor, norm: keras.layers.Layer, convolutions: list[keras.layers.Layer]
    ) -> list[keras.KerasTensor]:
        """Norm and ReLU, and pooling where it halves; then what each convolution makes of it."""
        if self._recompute:
            name = norm.name.replace("norm", "recomputed")
            return RecomputedConvolutions(norm, convolutions, name=name)(x)
        activated = norm(x)
        return [convolve(activated) for convolve in convolutions]

    def average(self, x: keras.KerasTensor, pooling: Pooling) -> keras.KerasTensor:
        if pooling == "centre":
            return AverageOverCentre(name="average_over_centre")(x)
        return self._average(name="average")(x)


def _check(
    spatial_dims: int,
    widths: Sequence[int],
    blocks_per_stage: int,
    extra: int,
    norm: str,
    pooling: str,
) -> None:
    if spatial_dims not in (2, 3):
        raise ValueError(f"expected spatial_dims 2 or 3, got {spatial_dims}")
    if not widths or min(widths) < 1:
        raise ValueError(f"expected one positive width a stage, got {tuple(widths)}")
    if blocks_per_stage < 1 or extra < 0:
        raise ValueError(
            "expected at least one block a stage and no fewer than zero extra stages, got "
            f"{blocks_per_stage} and {extra}"
        )
    if norm not in ("batch", "group", "none"):
        raise ValueError(f"expected norm 'batch', 'group' or 'none', got {norm!r}")
    if pooling not in ("all", "centre"):
        raise ValueError(f"expected pooling 'all' or 'centre', got {pooling!r}")
