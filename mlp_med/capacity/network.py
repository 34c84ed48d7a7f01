"""The layers of a built network in the order of the forward pass, at the shapes of one workload."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras

from mlp_med.capacity.footprints import Footprint, Tensor, footprint
from mlp_med.models.normalization import NoNormalization
from mlp_med.models.recomputation import RecomputedConvolutions

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerCall:
    """One layer of the network at one grid and batch.

    Attributes:
        layer: the built layer.
        input_names: of the tensors that go in.
        output_name: of the one that comes out.
        inputs: their shapes.
        output: its shape.
        recomputed_in: the layer that keeps none of this one's output and makes it again in its
            backward pass; "" for most.
    """

    layer: keras.layers.Layer
    input_names: tuple[str, ...]
    output_name: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    recomputed_in: str = ""

    @property
    def footprint(self) -> Footprint:
        """What it keeps and needs."""
        return footprint(self.layer, list(self.inputs), self.output)


def layer_calls(model: keras.Model, input_shape: Shape) -> list[LayerCall]:
    """The model's layers with the shapes that an input brings; nothing is allocated.

    Args:
        model: functional, of one input and one output.
        input_shape: [batch, *grid, channels].
    """
    names: dict[int, str] = {}
    shapes: dict[str, Shape] = {}
    calls: list[LayerCall] = []
    for layer in model.operations:
        outputs = layer.output if isinstance(layer.output, list) else [layer.output]
        if isinstance(layer, keras.layers.InputLayer):
            names[id(layer.output)] = layer.name
            shapes[layer.name] = input_shape
            continue
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        sources = [names[id(source)] for source in inputs]
        if isinstance(layer, NoNormalization) and not layer.relu:
            names[id(layer.output)] = sources[0]  # the very same tensor
            continue
        made = list(_parts(layer, sources, shapes))
        calls += made
        for output, call in zip(outputs, made[-len(outputs) :], strict=True):
            names[id(output)] = call.output_name
    return calls


def _parts(
    layer: keras.layers.Layer, sources: Sequence[str], shapes: dict[str, Shape]
) -> Iterator[LayerCall]:
    """The layer itself, or what it is made of; those that the network goes on from come last."""
    if not isinstance(layer, RecomputedConvolutions):
        yield _call(layer, sources, shapes)
        return
    (source,) = sources
    parts = [layer.norm]
    if layer.pool is not None:
        parts += [layer.pool, NoNormalization(name=f"{layer.pool.name}_relu")]
    for part in parts:
        if isinstance(part, NoNormalization) and not part.relu:
            continue
        call = _call(part, [source], shapes, recomputed_in=layer.name)
        source = call.output_name
        yield call
    for convolution in layer.convolutions:
        yield _call(convolution, [source], shapes)


def _call(
    layer: keras.layers.Layer,
    sources: Sequence[str],
    shapes: dict[str, Shape],
    *,
    recomputed_in: str = "",
) -> LayerCall:
    given = [shapes[source] for source in sources]
    made = layer.compute_output_shape(given if len(given) > 1 else given[0])
    shapes[layer.name] = tuple(int(size) for size in made)
    return LayerCall(
        layer,
        tuple(sources),
        layer.name,
        # A layer casts what comes in to the dtype that it computes in.
        tuple(Tensor(shape, layer.compute_dtype) for shape in given),
        Tensor(shapes[layer.name], layer.compute_dtype),
        recomputed_in,
    )
