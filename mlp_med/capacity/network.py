"""The layers of a built network in the order of the forward pass, at the shapes of one workload."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from mlp_med.capacity.footprints import Tensor
from mlp_med.models.convolution import SpaceToDepth
from mlp_med.models.normalization import NoNormalization
from mlp_med.models.pooled_normalization import PooledNormalization
from mlp_med.models.recomputation import RecomputedConvolutions
from mlp_med.models.residual import VIEWS
from mlp_med.models.stage_parts import parts_of
from mlp_med.models.tiling import largest_tile

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
        places: the tensor in which the backward pass seeks the places of the maxima, where it is
            not the one that goes in; "" for most.
    """

    layer: keras.layers.Layer
    input_names: tuple[str, ...]
    output_name: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    recomputed_in: str = ""
    places: str = ""


def layer_calls(model: keras.Model, input_shape: Shape) -> list[LayerCall]:
    """The model's layers with the shapes that an input brings; nothing is allocated.

    Args:
        model: functional, of one input and one output; a network of four views has its columns'
            layers once for each view.
        input_shape: [batch, *grid, channels].
    """
    if "four_views" in [layer.name for layer in model.layers]:
        return _exam_calls(model, input_shape)
    return _Walk({model.inputs[0].name: input_shape}).through(model, model.inputs[0].name)


def tile_calls(call: LayerCall) -> tuple[int, list[LayerCall]]:
    """What streamed stages are made of: how many tiles, and the layers that each goes through.

    The layers have the shapes of the largest tile, its halo included; tiles at the border of the
    image have less of one.
    """
    (image,), stages = call.inputs, call.layer.stages
    parts = parts_of(stages)
    stem = parts[0].layer
    block = stem.block if isinstance(stem, SpaceToDepth) else 1
    filled = [-(-size // block) * block for size in image.shape[1:-1]]
    count, edges = largest_tile(parts, filled, call.layer.tile_size)
    return count, layer_calls(stages, (image.shape[0], *edges, image.shape[-1]))


def _exam_calls(model: keras.Model, input_shape: Shape) -> list[LayerCall]:
    """Four views through two columns, and what joins them (`mlp_med.models.residual`)."""
    exam, join = model.inputs[0].name, model.get_layer("four_views")
    width = input_shape[-1] // len(VIEWS)
    dtype = model.inputs[0].dtype
    walk = _Walk({exam: input_shape})
    calls, ends = [], []
    for number, kind in enumerate(VIEWS):
        column = model.get_layer(f"{kind}_column")
        view = f"view{number}"
        walk.shapes[view] = (*input_shape[:-1], width)
        cut = Tensor(walk.shapes[view], dtype)
        whole = Tensor(input_shape, dtype)
        calls.append(LayerCall(keras.layers.Identity(), (exam,), view, (whole,), cut))
        calls += walk.through(column, view, prefix=f"{view}_")
        ends.append(calls[-1].output_name)
    calls.append(walk.call(join, ends))
    calls.append(walk.call(model.layers[-1], [join.name]))
    return calls


@dataclass
class _Walk:
    """Goes through layers, and knows the shape of every tensor so far by its name."""

    shapes: dict[str, Shape]

    def through(
        self, model: keras.Model, source: str, *, prefix: str = "", begins_at: Sequence[Any] = ()
    ) -> list[LayerCall]:
        """The layers of a model whose input is called `source`.

        Args:
            model: functional.
            source: name of what goes in.
            prefix: of the names of what the layers make.
            begins_at: symbolic tensors that its first layers read, where these were made in
                another model.
        """
        names = {id(tensor): source for tensor in (*model.inputs, *begins_at)}
        calls: list[LayerCall] = []
        for layer in model.operations:
            if isinstance(layer, keras.layers.InputLayer):
                continue
            if isinstance(layer, keras.Model):  # what follows streamed stages
                stages = calls[-1].layer.stages
                calls += self.through(
                    layer, calls[-1].output_name, prefix=prefix, begins_at=stages.outputs
                )
                continue
            outputs = layer.output if isinstance(layer.output, list) else [layer.output]
            inputs = layer.input if isinstance(layer.input, list) else [layer.input]
            sources = [names[id(tensor)] for tensor in inputs]
            made = list(self._parts(layer, sources, prefix))
            if not made:
                names[id(layer.output)] = sources[0]  # the very same tensor
                continue
            calls += made
            for output, call in zip(outputs, made[-len(outputs) :], strict=True):
                names[id(output)] = call.output_name
        return calls

    def _parts(
        self, layer: keras.layers.Layer, sources: Sequence[str], prefix: str
    ) -> Iterator[LayerCall]:
        """The layer, or what it is made of; those that the network goes on from come last."""
        if isinstance(layer, RecomputedConvolutions):
            activated = [
                replace(call, recomputed_in=f"{prefix}{layer.name}")
                for call in self._parts(layer.norm, sources, prefix)
            ]
            yield from activated
            for convolution in layer.convolutions:
                yield self.call(convolution, [_end(activated, sources)], prefix=prefix)
        elif isinstance(layer, PooledNormalization):
            norm, pool, relu = layer.parts
            normalized = list(self._parts(norm, sources, prefix))
            yield from normalized
            pooled = self.call(pool, [_end(normalized, sources)], prefix=prefix)
            yield replace(pooled, places=sources[0])
            yield self.call(relu, [pooled.output_name], prefix=prefix)
        elif not (isinstance(layer, NoNormalization) and not layer.relu):  # which does nothing
            yield self.call(layer, sources, prefix=prefix)

    def call(
        self,
        layer: keras.layers.Layer,
        sources: Sequence[str],
        *,
        prefix: str = "",
    ) -> LayerCall:
        """One layer, whose output is called by its name from then on."""
        given = [self.shapes[source] for source in sources]
        made = layer.compute_output_shape(given if len(given) > 1 else given[0])
        name = f"{prefix}{layer.name}"
        self.shapes[name] = tuple(int(size) for size in made)
        return LayerCall(
            layer,
            tuple(sources),
            name,
            # A layer casts what comes in to the dtype that it computes in.
            tuple(Tensor(shape, layer.compute_dtype) for shape in given),
            Tensor(self.shapes[name], layer.compute_dtype),
        )


def _end(calls: Sequence[LayerCall], sources: Sequence[str]) -> str:
    """What the last of them makes; where there is none, the very tensor that goes in."""
    return calls[-1].output_name if calls else sources[0]
