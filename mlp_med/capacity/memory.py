"""Peak memory of a training cell, predicted line by line from the built network's shapes.

A line is in bytes, a Python integer, and the lines add up to the peak. The constants below were
calibrated on other cells than those that check them (`benchmarks/memory_model.py --calibrate`, the
share of the allocator and the bytes of the graph with the first as it is); a probe of the model at
hand replaces the first.
"""

import functools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import keras

from mlp_med.capacity.footprints import FLOAT32_BYTES, unrolled_examples
from mlp_med.capacity.liveness import Peak, forward_peak, training_peak
from mlp_med.capacity.network import LayerCall, layer_calls
from mlp_med.capacity.workload import Workload
from mlp_med.models.residual import build_model

# TensorFlow's threads, the traced step, its kernels and their tables: of any batch and grid. Eight
# processes on next to no voxels took 101 to 117 MB, the small network least, recomputing most.
RUNNING_BYTES = 103_000_000
# What loops over tiles take beside: from six cells of 2D and 3D, of 44 to 130 MB.
LOOP_BYTES = 80_000_000
# For each example that group normalisation takes on its own, in each such layer: its operations and
# their gradients in the traced graph and its copies.
UNROLLED_BYTES = 840_000
# TensorFlow's best-fit allocator takes memory in regions that double, and what lies free between
# tensors of other sizes has been written to: a share of all that is alive at the peak, the batches
# that wait included.
ALLOCATOR_SLACK = Fraction(18, 100)
# A cell's process with all that it imports (`mlp_med.studies.work.PRELOAD`), without crops.
PROCESS_BASE_BYTES = 842_000_000
# Batches between pipeline and step, in float32: two prefetched and one handed over.
WAITING_BATCHES = 3
ADAM_SLOTS = 2


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Where a training cell's peak of memory goes; every figure in bytes.

    Attributes:
        parameters: float32 weights, statistics of the norms included.
        best_weights: the copy of those that validated best.
        optimizer: Adam's two moments of every trained parameter.
        gradients: of every trained parameter; twice with accumulation or tiles, which keep a sum.
        activations: what the layers keep for the backward pass.
        backward: alive at the peak above that: gradients of activations, scratch of the kernels.
        allocator: what TensorFlow's heap loses between tensors.
        input_buffers: batches that wait between pipeline and step, and where more is alive as a
            step begins than at the peak of its tensors, what that is more.
        running: threads, traced step and kernels.
        dataset: crops that stay in memory all along.
        process_base: the process before the model was built.
    """

    parameters: int
    best_weights: int
    optimizer: int
    gradients: int
    activations: int
    backward: int
    allocator: int
    input_buffers: int
    running: int
    dataset: int
    process_base: int

    @property
    def lines(self) -> dict[str, int]:
        """Every line by its name, in this order."""
        return dict(vars(self))

    @property
    def peak(self) -> int:
        """The sum of all lines."""
        return sum(self.lines.values())

    @property
    def above_base(self) -> int:
        """What the cell takes beyond the process and its data."""
        return self.peak - self.process_base - self.dataset


def predict_memory(
    workload: Workload,
    *,
    dataset_bytes: int = 0,
    running_bytes: int = RUNNING_BYTES,
    process_base_bytes: int = PROCESS_BASE_BYTES,
) -> MemoryPlan:
    """The peak of a cell that trains this workload.

    Args:
        workload: model, grid, batch, precision.
        dataset_bytes: of the crops in memory, `Examples.num_bytes` of every split that is loaded.
        running_bytes: of the constant line; a probe's, if there is one.
        process_base_bytes: of the process before the model was built.
    """
    network = network_of(workload)
    peak = activation_peak(workload)
    buffers = _input_buffers(workload, peak.num_bytes)
    trained = network.trained * FLOAT32_BYTES
    weights = network.parameters * FLOAT32_BYTES
    return MemoryPlan(
        parameters=weights,
        best_weights=weights,
        optimizer=ADAM_SLOTS * trained,
        gradients=trained * (2 if workload.accumulation_steps * workload.num_tiles > 1 else 1),
        activations=peak.kept_bytes,
        backward=peak.backward_bytes,
        allocator=allocator_bytes(peak.num_bytes + buffers),
        input_buffers=buffers,
        running=running_bytes
        + (LOOP_BYTES if workload.num_tiles > 1 or workload.stream_tile else 0)
        + graph_bytes(workload),
        dataset=dataset_bytes,
        process_base=process_base_bytes,
    )


def allocator_bytes(alive_bytes: int) -> int:
    """What the heap loses beside so many bytes of tensors."""
    return int(ALLOCATOR_SLACK * alive_bytes)


@functools.lru_cache(maxsize=4096)
def graph_bytes(workload: Workload) -> int:
    """What the traced step takes beyond that of any network: the examples that it takes singly."""
    calls = calls_of(workload)
    return UNROLLED_BYTES * sum(unrolled_examples(call.layer, call.output) for call in calls)


def _input_buffers(workload: Workload, peak_bytes: int) -> int:
    """Batches that wait, beside `peak_bytes` of the step's own tensors.

    Once the step has taken its batch the pipeline makes the next, which is ready long before the
    peak. Until then the batch that the step took is there, in float32 and as it is cast and folded,
    and the crops of the next in the dataset's own number format. Where images are trained as tiles
    the first tile's peak comes that early, and the whole image stays.
    """
    values = workload.batch_size * workload.num_voxels * workload.num_channels
    waiting = WAITING_BATCHES * FLOAT32_BYTES * values
    begins = (FLOAT32_BYTES + workload.native_bytes) * values
    if workload.num_tiles > 1:
        return waiting + begins
    return waiting + max(0, begins + _first_bytes(workload) - peak_bytes)


@functools.lru_cache(maxsize=4096)
def _first_bytes(workload: Workload) -> int:
    """What the network's first layer makes of a batch, and the batch where it has to be cast."""
    first = calls_of(workload)[0]
    cast = first.inputs[0].num_bytes if first.inputs[0].dtype != "float32" else 0
    return first.output.num_bytes + cast


def calibrated_running_bytes(workload: Workload, above_base_bytes: int) -> int:
    """The constant line that makes the prediction of a probed workload the measured one.

    Args:
        workload: what was probed; small, so that the constant is most of it.
        above_base_bytes: measured peak less the process base.
    """
    plan = predict_memory(workload, running_bytes=0)
    return max(0, above_base_bytes - plan.above_base)


@functools.lru_cache(maxsize=4096)
def activation_peak(workload: Workload) -> Peak:
    """What the activations and their gradients take, by liveness over the network's layers."""
    return training_peak(calls_of(workload))


def scoring_peak_bytes(workload: Workload) -> int:
    """What the activations take when a batch is only scored: nothing is kept."""
    return forward_peak(calls_of(workload))


@functools.lru_cache(maxsize=4)
def calls_of(workload: Workload) -> list[LayerCall]:
    """The network's layers with the shapes of this workload."""
    shape = (workload.batch_size, *workload.tile_voxels, workload.num_channels)
    return layer_calls(network_of(workload).model, shape)


@dataclass(frozen=True)
class Network:
    """A built network and its counts of numbers.

    Attributes:
        model: the built model; its weights are the only thing that is allocated.
        parameters: all of them.
        trained: those that the optimiser changes.
    """

    model: keras.Model
    parameters: int
    trained: int


def network_of(workload: Workload) -> Network:
    """The network, built once for any grid and batch."""
    return _build(workload.precision, tuple(sorted(workload.model_arguments().items())))


@functools.lru_cache(maxsize=16)
def _build(precision: str, arguments: tuple[tuple[str, Any], ...]) -> Network:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = build_model(**dict(arguments))
    finally:
        keras.config.set_dtype_policy(policy)
    trained = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return Network(model, int(model.count_params()), trained)
