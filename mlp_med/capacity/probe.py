"""Measures what a workload really takes: a few training steps in a process of its own.

    python -m mlp_med.capacity.probe '{"model": "residual", "voxels": [64, 64, 64], …}'

prints one line of JSON. The steps are those of a cell: the same pipeline, the same loop; only the
crops are noise.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from mlp_med.capacity.amounts import show_bytes
from mlp_med.capacity.workload import Workload
from mlp_med.errors import CapacityError
from mlp_med.training.memory import peak_memory_bytes, peak_memory_bytes_of

NUM_STEPS = 4
NUM_WAITING = 8  # batches beyond those that the steps take
SECONDS_BETWEEN_LOOKS = 0.1  # at a probe's memory, which it may not live to tell
SMALL_STRIDES = 8  # of the network's, along an edge of a probe's grid


@dataclass(frozen=True)
class Probe:
    """What a probe measured.

    Attributes:
        base_bytes: resident memory before the model was built, the crops included.
        crops_bytes: of the noise that stood for the dataset, part of the base.
        peak_bytes: highest resident memory from then on (VmHWM), the base included.
        step_seconds: of an optimiser step, the input included.
    """

    base_bytes: int
    crops_bytes: int
    peak_bytes: int
    step_seconds: float

    @property
    def above_base_bytes(self) -> int:
        """What model, training steps and input took."""
        return self.peak_bytes - self.base_bytes

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From the line that the process printed."""
        return cls(**values)


def probe(
    workload: Workload,
    *,
    threads: int = 1,
    num_steps: int = NUM_STEPS,
    preload: Sequence[str] = (),
) -> Probe:
    """Trains a fresh network on noise for a few steps, in a process of its own.

    Args:
        workload: what is trained.
        threads: of one operation.
        num_steps: optimiser steps.
        preload: modules that the process imports first, `mlp_med.studies.work.PRELOAD` for the
            process of a cell.

    Raises:
        CapacityError: the process died, of memory or otherwise.
    """
    order = {
        "workload": workload.to_dict(),
        "threads": threads,
        "num_steps": num_steps,
        "preload": list(preload),
    }
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlp_med.capacity.probe", json.dumps(order)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": directory, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
        try:
            stdout, stderr, peak = _watched(process)
        finally:
            process.kill()  # where this is interrupted; nothing is left of it otherwise
    if process.returncode:
        reason = stderr.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        if process.returncode < 0:  # it could say nothing of it
            reason = [f"ended by {signal.Signals(-process.returncode).name}"]
        from mlp_med.capacity.budget import Place  # TensorFlow: no probe's process shall begin so

        predicted = Place().needed(workload)
        raise CapacityError(
            f"the probe of {workload.grid} × {workload.batch_size} died: {reason[0]}; its peak "
            f"memory was {show_bytes(peak)}, {show_bytes(predicted)} were predicted"
        )
    return Probe.from_dict(json.loads(stdout.splitlines()[-1]))


def _watched(process: subprocess.Popen[str]) -> tuple[str, str, int]:
    """Both outputs of a process that ends, and the highest resident memory that was seen of it."""
    peak = 0
    while True:
        peak = peak_memory_bytes_of(process.pid) or peak
        with contextlib.suppress(subprocess.TimeoutExpired):
            return *process.communicate(timeout=SECONDS_BETWEEN_LOOKS), peak


def small_workload(workload: Workload) -> Workload:
    """The same model where tensors are next to nothing, so that the rest can be told apart."""
    edge = SMALL_STRIDES * workload.stride * workload.split
    return replace(
        workload, voxels=(edge,) * workload.spatial_dims, batch_size=4, accumulation_steps=1
    )


def run(workload: Workload, *, threads: int, num_steps: int) -> Probe:
    """Measures in this very process, which should have done nothing before."""
    import keras
    import psutil

    from mlp_med.models.residual import build_model
    from mlp_med.pipelines.batches import distributed_training_batches
    from mlp_med.training.evaluation import Evaluation
    from mlp_med.training.loop import fit
    from mlp_med.training.memory import reset_peak_memory
    from mlp_med.training.strategy import make_strategy
    from mlp_med.training.threads import configure_threads

    configure_threads(threads)
    keras.config.set_dtype_policy(workload.precision)
    examples, description = _noise(workload)
    reset_peak_memory()
    base = psutil.Process().memory_info().rss
    strategy = make_strategy()
    with strategy.scope():
        model = build_model(**workload.model_arguments())
    global_batch = workload.batch_size * workload.accumulation_steps
    batches = distributed_training_batches(
        strategy,
        examples,
        global_batch_size=workload.batch_size,
        seed=0,
        start=0,
        # More than the steps take: what waits between pipeline and step is part of the peak.
        budget_examples=num_steps * global_batch + NUM_WAITING * workload.batch_size,
        resolution=description.finest,
        grid=description.finest,
        description=description,
        augment=True,
    )
    history = fit(
        model,
        strategy,
        batches,
        lambda: Evaluation(auc=0.5, loss=1.0),
        budget_examples=num_steps * global_batch,
        global_batch_size=global_batch,
        learning_rate=1e-3,
        num_evaluations=1,
        accumulation_steps=workload.accumulation_steps,
        split=workload.split,
        steps_per_call=num_steps,
    )
    return Probe(
        base_bytes=base,
        crops_bytes=examples.num_bytes,
        peak_bytes=peak_memory_bytes(),
        step_seconds=history.seconds_training / num_steps,
    )


def _noise(workload: Workload):  # type: ignore[no-untyped-def]  # its type would import TensorFlow
    """A few crops of noise, and a description of a dataset that has them."""
    import numpy as np

    from mlp_med.pipelines.arrays import Examples, aligned_empty
    from mlp_med.pipelines.datasets import DatasetDescription

    num_examples = min(8, 2 * workload.batch_size)
    dtype = np.dtype({1: np.uint8, 2: np.int16, 4: np.float32}[workload.native_bytes])
    images = aligned_empty((num_examples, *workload.voxels, workload.num_channels), dtype)
    rng = np.random.default_rng(0)
    for image in images:
        image[...] = rng.integers(0, 256, image.shape, dtype=np.uint8)
    labels = np.arange(num_examples, dtype=np.int8) % 2
    names = np.array([str(row) for row in range(num_examples)])
    description = DatasetDescription(
        name="noise",
        unit="mm",
        resolutions=(1.0, 2.0),
        field_extent=tuple(map(float, workload.voxels)),
        spatial_dims=workload.spatial_dims,
        num_channels=workload.num_channels,
        intensity_window=(0.0, 255.0),
        patients_known=False,
        class_names=("0", "1"),
        label_at_centre=False,
    )
    return Examples(images, labels, names, names), description


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    for module in order["preload"]:
        importlib.import_module(module)
    found = run(
        Workload.from_dict(order["workload"]),
        threads=order["threads"],
        num_steps=order["num_steps"],
    )
    print(json.dumps(asdict(found)))
