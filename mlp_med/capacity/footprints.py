"""What each kind of layer keeps for its backward pass, and needs beside it while it works.

The kinds are a table, so that a new layer brings one function. The rules say what TensorFlow's CPU
kernels do, and were checked against measured peaks (benchmarks/memory_model.py).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras

from mlp_med.errors import CapacityError
from mlp_med.models.convolution import Convolution3D, SpaceToDepth
from mlp_med.models.group_moments import WORTH_A_CALL
from mlp_med.models.normalization import (
    FusedBatchNormalization,
    GroupNormalization,
    NoNormalization,
)
from mlp_med.models.pooling import AverageOverCentre
from mlp_med.processor import processor_flags

NORMS = (FusedBatchNormalization, GroupNormalization)
FLOAT32_BYTES = 4
BYTES_PER_VALUE = {"float32": 4, "bfloat16": 2, "float16": 2, "int16": 2, "uint8": 1}


@dataclass(frozen=True)
class Tensor:
    """A tensor's shape, batch first, and dtype; nothing is allocated."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def num_values(self) -> int:
        """How many numbers it holds; a Python integer, which cannot overflow."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """What it takes in memory."""
        return self.num_values * BYTES_PER_VALUE[self.dtype]


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What one layer needs of memory in a training step.

    Attributes:
        keeps_inputs: the backward pass needs what went in.
        keeps_output: the backward pass needs what came out.
        kept_bytes: of tensors inside the layer that its backward pass needs.
        forward_bytes: held for as long as the forward pass of this layer takes, beside its output.
        backward_bytes: held for as long as its backward pass takes, beside the gradients.
        passes_gradient: the gradient of every input is that of the output, the same memory.
        may_wait: where the gradient that comes in goes to another layer of this kind too, that of
            the weights is put off to the end of the step. The executor has one thread for
            operations: of the four gradients that are ready at once it runs one and queues the
            rest, and those of weights come last, since nothing waits for them.
    """

    keeps_inputs: bool = False
    keeps_output: bool = False
    kept_bytes: int = 0
    forward_bytes: int = 0
    backward_bytes: int = 0
    passes_gradient: bool = False
    may_wait: bool = False


Rule = Callable[[keras.layers.Layer, list[Tensor], Tensor], Footprint]


def footprint(layer: keras.layers.Layer, inputs: list[Tensor], output: Tensor) -> Footprint:
    """The footprint of a layer at these shapes.

    Raises:
        CapacityError: there is no rule for this kind of layer.
    """
    for kind in type(layer).__mro__:
        if kind in RULES:
            return RULES[kind](layer, inputs, output)
    raise CapacityError(
        f"expected a layer whose memory is known, got {type(layer).__name__} ({layer.name}); "
        "give it a rule in mlp_med/capacity/footprints.py"
    )


def _convolution(layer: keras.layers.Layer, inputs: list[Tensor], output: Tensor) -> Footprint:
    """Keeps its input. The gradient of the filter is of the filter's size."""
    return Footprint(keeps_inputs=True, may_wait=True)


def _convolution_3d(layer: keras.layers.Layer, inputs: list[Tensor], output: Tensor) -> Footprint:
    """Without AVX-512 each depth tap in float32 copies the planes that it saw on either side."""
    slow = inputs[0].dtype == "float32" and "avx512f" not in processor_flags()
    copies = slow and layer.kernel_size[0] > 1
    copied = inputs[0].num_bytes + output.num_bytes if copies else 0
    return Footprint(keeps_inputs=True, backward_bytes=copied, may_wait=True)


def _fused_batch_norm(layer: keras.layers.Layer, inputs: list[Tensor], output: Tensor) -> Footprint:
    """The norm's gradient needs its input, the ReLU's needs its output."""
    return Footprint(keeps_inputs=True, keeps_output=layer.relu)


def _group_norm(layer: keras.layers.Layer, inputs: list[Tensor], output: Tensor) -> Footprint:
    """Large examples one by one in their own dtype, small ones all at once in float32.

    One by one, what the gradient needs beside itself takes the place of what has been given back.
    At once, where the input is narrower, the cast copy is what is kept.
    """
    if _is_unrolled(output):
        return Footprint(
            keeps_inputs=True,
            keeps_output=layer.relu,
            forward_bytes=output.num_bytes,
        )
    wide = output.num_values * FLOAT32_BYTES
    narrow = inputs[0].dtype != "float32"
    return Footprint(
        keeps_inputs=not narrow,
        keeps_output=layer.relu,
        kept_bytes=wide if narrow else 0,
        forward_bytes=wide,
        backward_bytes=3 * wide,
    )


def _is_unrolled(output: Tensor) -> bool:
    """Whether group normalisation calls its kernels for each example on its own."""
    return output.num_values >= WORTH_A_CALL * output.shape[0]


def unrolled_examples(layer: keras.layers.Layer, output: Tensor) -> int:
    """Examples whose operations the traced step holds one by one, for this layer; 0 for most."""
    alone = isinstance(layer, GroupNormalization) and _is_unrolled(output)
    return output.shape[0] if alone else 0


def _rectifier(layer: keras.layers.Layer, inputs: list[Tensor], output: Tensor) -> Footprint:
    """Where the output is 0 the gradient is 0: it is written over that which came in."""
    return Footprint(keeps_output=True, passes_gradient=True)


def _max_pooling(layer: keras.layers.Layer, inputs: list[Tensor], output: Tensor) -> Footprint:
    """The gradient takes the maxima again, with a byte each that says which voxel they are of."""
    return Footprint(keeps_inputs=True, backward_bytes=output.num_bytes + output.num_values)


def _add(layer: keras.layers.Layer, inputs: list[Tensor], output: Tensor) -> Footprint:
    return Footprint(passes_gradient=True)


def _nothing(layer: keras.layers.Layer, inputs: list[Tensor], output: Tensor) -> Footprint:
    return Footprint()


def _space_to_depth(layer: keras.layers.Layer, inputs: list[Tensor], output: Tensor) -> Footprint:
    """Inputs that no whole number of blocks makes up are copied, with what fills them up."""
    filled = output.num_values == inputs[0].num_values
    return Footprint(forward_bytes=0 if filled else output.num_bytes)


def _dense(layer: keras.layers.Layer, inputs: list[Tensor], output: Tensor) -> Footprint:
    return Footprint(keeps_inputs=True)


RULES: dict[type[keras.layers.Layer], Rule] = {
    keras.layers.InputLayer: _nothing,
    keras.layers.Conv2D: _convolution,
    keras.layers.Conv3D: _convolution,
    Convolution3D: _convolution_3d,
    FusedBatchNormalization: _fused_batch_norm,
    GroupNormalization: _group_norm,
    NoNormalization: _rectifier,
    keras.layers.MaxPooling2D: _max_pooling,
    keras.layers.MaxPooling3D: _max_pooling,
    keras.layers.Add: _add,
    keras.layers.Identity: _nothing,  # stands for the cutting of a view out of an exam
    keras.layers.Concatenate: _nothing,
    SpaceToDepth: _space_to_depth,
    AverageOverCentre: _nothing,
    keras.layers.GlobalAveragePooling2D: _nothing,
    keras.layers.GlobalAveragePooling3D: _nothing,
    keras.layers.Dense: _dense,
}
