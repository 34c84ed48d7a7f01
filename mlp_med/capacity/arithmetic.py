"""Operations and bytes of one step, layer by layer, from the built network's shapes.

A multiply-add counts as two operations. Bytes are what has to pass between the memory and the
processor if nothing stays in a cache between layers: every tensor that a layer takes and makes,
once, and the input of a normalisation twice, since its moments come first. Kernels that copy or
reorder move more, so that times made of these (`mlp_med.capacity.roofline`) are near the best.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import keras

from mlp_med.capacity.footprints import FLOAT32_BYTES, NORMS
from mlp_med.capacity.liveness import needs_of
from mlp_med.capacity.memory import calls_of
from mlp_med.capacity.network import LayerCall, tile_calls
from mlp_med.capacity.workload import Workload
from mlp_med.models.streaming import StreamedStages

# Of a normalisation with its ReLU, for each value; the backward pass does about twice as much.
NORM_OPERATIONS = 8


@dataclass(frozen=True)
class LayerCost:
    """What one layer of a step costs.

    Attributes:
        name: the layer's.
        operations: floating-point operations.
        num_bytes: moved from and to memory.
    """

    name: str
    operations: int
    num_bytes: int

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.operations / self.num_bytes


def inference_costs(workload: Workload) -> list[LayerCost]:
    """Of one batch that is scored."""
    return _repeated(workload.num_tiles, _scored(calls_of(workload)))


def training_costs(workload: Workload) -> list[LayerCost]:
    """Of one optimiser step: its micro-batches, forward and backward, without the update."""
    return _repeated(workload.accumulation_steps * workload.num_tiles, _trained(calls_of(workload)))


def _repeated(times: int, costs: Iterable[LayerCost]) -> list[LayerCost]:
    return [LayerCost(each.name, times * each.operations, times * each.num_bytes) for each in costs]


def _scored(calls: list[LayerCall]) -> Iterator[LayerCost]:
    for call in calls:
        if isinstance(call.layer, StreamedStages):
            yield _of_tiles(call, _scored)
        else:
            num_bytes = _forward_bytes(call, moments=False)
            yield LayerCost(call.layer.name, _forward_operations(call), num_bytes)


def _trained(calls: list[LayerCall]) -> Iterator[LayerCost]:
    without = _without_gradient(calls)
    for call in calls:
        if isinstance(call.layer, StreamedStages):
            # Forward for the stages' output, and again, with the backward pass, for the gradients.
            yield _of_tiles(call, lambda tile: [*_scored(tile), *_trained(tile)])
            continue
        runs = 2 if call.recomputed_in else 1  # forward again in the backward pass
        operations = runs * _forward_operations(call) + _backward_operations(call, without)
        num_bytes = runs * _forward_bytes(call, moments=True) + _backward_bytes(call, without)
        yield LayerCost(call.layer.name, operations, num_bytes)


def _of_tiles(
    call: LayerCall, costs_of: Callable[[list[LayerCall]], Iterable[LayerCost]]
) -> LayerCost:
    """The sum over the tiles of streamed stages, each as large as the largest."""
    count, tile = tile_calls(call)
    costs = list(costs_of(tile))
    return LayerCost(
        call.layer.name,
        count * sum(each.operations for each in costs),
        count * sum(each.num_bytes for each in costs),
    )


def input_bytes(workload: Workload) -> int:
    """Of the crops of one optimiser step, in the dataset's own number format."""
    examples = workload.batch_size * workload.accumulation_steps
    return examples * workload.num_voxels * workload.num_channels * workload.native_bytes


def _forward_operations(call: LayerCall) -> int:
    if isinstance(call.layer, keras.layers.Conv2D | keras.layers.Conv3D):
        taps = math.prod(call.layer.kernel_size) * call.inputs[0].shape[-1]
        return 2 * taps * call.output.num_values
    if isinstance(call.layer, keras.layers.Dense):
        return 2 * call.inputs[0].num_values * call.output.shape[-1]
    if isinstance(call.layer, NORMS):
        return NORM_OPERATIONS * call.output.num_values
    # Pooling, sums, rectifiers and averages look at each value once.
    return sum(tensor.num_values for tensor in call.inputs)


def _backward_operations(call: LayerCall, without: set[str]) -> int:
    """By weights and by inputs; no gradient is taken with respect to the data."""
    forward = _forward_operations(call)
    by_weights = forward if call.layer.trainable_weights else 0
    by_inputs = 0 if set(call.input_names) <= without else forward
    return by_weights + by_inputs


def _forward_bytes(call: LayerCall, *, moments: bool) -> int:
    passes = 2 if moments and isinstance(call.layer, NORMS) else 1
    return passes * _bytes_in(call) + call.output.num_bytes + _weight_bytes(call)


def _backward_bytes(call: LayerCall, without: set[str]) -> int:
    needs = needs_of(call)
    if needs.passes_gradient:
        return 0
    passes = 2 if isinstance(call.layer, NORMS) else 1
    read = passes * call.output.num_bytes  # the upstream gradient has the output's shape
    read += passes * _bytes_in(call) if needs.keeps_inputs else 0
    read += call.output.num_bytes if needs.keeps_output else 0
    written = 0 if set(call.input_names) <= without else _bytes_in(call)
    return read + written + 2 * _weight_bytes(call)


def _bytes_in(call: LayerCall) -> int:
    return sum(tensor.num_bytes for tensor in call.inputs)


def _weight_bytes(call: LayerCall) -> int:
    return sum(FLOAT32_BYTES * math.prod(weight.shape) for weight in call.layer.weights)


def _without_gradient(calls: list[LayerCall]) -> set[str]:
    """Tensors that no weight lies before: the data, and what is merely folded out of it."""
    found = {calls[0].input_names[0]}
    for call in calls:
        if set(call.input_names) <= found and not call.layer.trainable_weights:
            found.add(call.output_name)
    return found
