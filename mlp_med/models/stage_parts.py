"""The layers of built stages as parts that run on a piece of their input, without own padding."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from mlp_med.errors import StreamingError
from mlp_med.models.convolution import Convolution3D, SpaceToDepth
from mlp_med.models.normalization import FusedBatchNormalization, NoNormalization
from mlp_med.models.pooled_normalization import PooledNormalization
from mlp_med.models.pooling import max_pool
from mlp_med.models.recomputation import RecomputedConvolutions
from mlp_med.models.windows import Window

Run = Callable[[list[tf.Tensor], list[tf.Tensor]], tf.Tensor]

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.Conv3D)
MAX_POOLINGS = (keras.layers.MaxPooling2D, keras.layers.MaxPooling3D)
BATCH_NORMALIZATIONS = (FusedBatchNormalization, keras.layers.BatchNormalization)
# Layers whose every output position is of that input position alone.
POINTWISE_LAYERS = (
    NoNormalization,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.Rescaling,
    *BATCH_NORMALIZATIONS,
)


@dataclass(frozen=True)
class Part:
    """One layer of the stages.

    Attributes:
        layer: the built layer.
        sources: names of the tensors that go in; `IMAGE` is the stages' input.
        output: name of the tensor that comes out.
        windows: one an axis; none where every output is of its own position alone.
        padding: what the layer sees beyond the border: 0, or -inf for a maximum.
        run: from the padded inputs and the values of the layer's weights to the output.
    """

    layer: keras.layers.Layer
    sources: tuple[str, ...]
    output: str
    windows: tuple[Window, ...]
    padding: float
    run: Run

    def window(self, axis: int) -> Window:
        """How it goes over an axis of the grid."""
        return self.windows[axis] if self.windows else Window()

    @property
    def has_batch_statistics(self) -> bool:
        """Whether in training it would normalise by what the batch holds."""
        return isinstance(self.layer, BATCH_NORMALIZATIONS) and self.layer.trainable


IMAGE = "image"


def parts_of(stages: keras.Model) -> list[Part]:
    """The stages' layers in the order of the forward pass; only those that the output needs.

    Raises:
        StreamingError: they have several inputs or outputs, a layer is used twice, or an output of
            a layer depends on more than a window of its input.
    """
    if len(stages.inputs) != 1 or len(stages.outputs) != 1:
        raise StreamingError(
            "expected stages of one input and one output, got "
            f"{len(stages.inputs)} and {len(stages.outputs)}"
        )
    names = {id(stages.inputs[0]): IMAGE}
    parts: list[Part] = []
    for layer in stages.operations:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        sources = [_name(source, names) for source in _listed(layer.input)]
        made = list(_parts(layer, sources))
        parts += made
        outputs = _listed(layer.output)
        for output, part in zip(outputs, made[-len(outputs) :], strict=True):
            names[id(output)] = part.output
    return _needed(parts, _name(stages.outputs[0], names))


def _name(tensor: keras.KerasTensor, names: Mapping[int, str]) -> str:
    if id(tensor) not in names:
        raise StreamingError(
            f"expected every layer to be used once, but {tensor.name} is another use of one"
        )
    return names[id(tensor)]


def _listed(tensors: Any) -> list[Any]:
    return tensors if isinstance(tensors, list) else [tensors]


def _needed(parts: Sequence[Part], last: str) -> list[Part]:
    wanted, needed = {last}, []
    for part in reversed(parts):
        if part.output in wanted:
            wanted.update(part.sources)
            needed.append(part)
    return needed[::-1]


def _parts(layer: keras.layers.Layer, sources: Sequence[str]) -> Iterator[Part]:
    """The layer itself, or what it is made of; those that the network goes on from come last."""
    if isinstance(layer, RecomputedConvolutions):
        activated = list(_parts(layer.norm, sources))
        yield from activated
        for convolution in layer.convolutions:
            yield _part(convolution, [activated[-1].output])
    elif isinstance(layer, PooledNormalization):
        for inner in layer.parts:
            part = _part(inner, sources)
            sources = [part.output]
            yield part
    else:
        yield _part(layer, sources)


def _part(layer: keras.layers.Layer, sources: Sequence[str]) -> Part:
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise StreamingError(
            f"expected channels last, got {layer.data_format} in layer {layer.name}"
        )
    padding = 0.0
    windows: tuple[Window, ...] = ()
    run: Run = functools.partial(_call, layer)
    if isinstance(layer, CONVOLUTIONS):
        windows, run = _convolution_windows(layer), functools.partial(_convolve, layer)
    elif isinstance(layer, MAX_POOLINGS):
        windows, run = _pooling_windows(layer), functools.partial(_pool, layer)
        padding = -float("inf")
    elif isinstance(layer, SpaceToDepth):
        block = Window(layer.block, layer.block)
        windows = (block,) * (len(layer.input.shape) - 2)
    elif isinstance(layer, keras.layers.Add):
        run = _add
    elif not isinstance(layer, POINTWISE_LAYERS):
        raise StreamingError(
            f"{type(layer).__name__} {layer.name} cannot run tile by tile: expected convolutions, "
            "max-pooling, sums, activations, and a normalisation that needs no more than one "
            "position (none, or frozen statistics); build the network with norm 'none', or stream "
            "fewer stages"
        )
    return Part(layer, tuple(sources), layer.name, windows, padding, run)


def _convolution_windows(layer: keras.layers.Layer) -> tuple[Window, ...]:
    extents = [
        (size - 1) * rate + 1
        for size, rate in zip(layer.kernel_size, layer.dilation_rate, strict=True)
    ]
    same = layer.padding == "same"
    return tuple(Window(e, s, same) for e, s in zip(extents, layer.strides, strict=True))


def _pooling_windows(layer: keras.layers.Layer) -> tuple[Window, ...]:
    same = layer.padding == "same"
    return tuple(Window(e, s, same) for e, s in zip(layer.pool_size, layer.strides, strict=True))


def _convolve(
    layer: keras.layers.Layer, inputs: list[tf.Tensor], weights: list[tf.Tensor]
) -> tf.Tensor:
    x, kernel, *bias = (tf.cast(value, layer.compute_dtype) for value in (*inputs, *weights))
    if isinstance(layer, Convolution3D):
        outputs = layer.convolve_inside(x, kernel)
    else:
        outputs = tf.nn.convolution(x, kernel, layer.strides, "VALID", None, layer.dilation_rate)
    for each in bias:
        outputs += each
    return outputs if layer.activation is None else layer.activation(outputs)


def _pool(
    layer: keras.layers.Layer, inputs: list[tf.Tensor], weights: list[tf.Tensor]
) -> tf.Tensor:
    del weights
    return max_pool(inputs[0], layer.pool_size, layer.strides, "VALID")


def _add(inputs: list[tf.Tensor], weights: list[tf.Tensor]) -> tf.Tensor:
    del weights
    return functools.reduce(tf.add, inputs)


def _call(
    layer: keras.layers.Layer, inputs: list[tf.Tensor], weights: list[tf.Tensor]
) -> tf.Tensor:
    """The layer's own call, outside training, with these values for its weights."""
    (x,) = inputs
    options = {"training": False} if isinstance(layer, BATCH_NORMALIZATIONS) else {}
    with keras.StatelessScope(state_mapping=list(zip(layer.weights, weights, strict=True))):
        return layer(x, **options)
