"""Is the gradient of max-pooling always the same, and how fast is it? Ours beside TensorFlow's.

Times the two kernels that TensorFlow has for the gradient of a maximum. Then traces one training
step of a small 3D network in bfloat16 again and again, two micro-batches accumulated, and counts
the traces whose gradients are not those of the first.

    python benchmarks/max_pooling.py --traces 100
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from mlp_med.models import pooled_normalization, pooling
from mlp_med.models.residual import build_model
from mlp_med.training.step import compile_training_steps
from mlp_med.training.threads import configure_threads

BATCH, MICRO_BATCHES, GRID = 4, 2, 8
TIMED = (8, 32, 32, 32, 16)


def one_step() -> bytes:
    """Traces the network's training step and takes one; all gradients of it, as Adam keeps them."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = build_model(spatial_dims=3, num_channels=1, widths=(8, 16, 32), norm="none")
    generator = np.random.default_rng(0)
    images = generator.normal(size=(BATCH, *[GRID] * 3, 1)).astype(np.float32)
    labels = (np.arange(BATCH) % 2).astype(np.float32)
    batches = tf.data.Dataset.from_tensors((images, labels, np.ones(BATCH, np.float32))).repeat()
    steps = compile_training_steps(
        model,
        tf.distribute.get_strategy(),
        iter(batches),
        num_steps=1,
        global_batch_size=MICRO_BATCHES * BATCH,
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup_fraction=0.0,
        accumulation_steps=MICRO_BATCHES,
    )
    steps(1)
    return b"".join(variable.numpy().tobytes() for variable in steps.optimizer_variables)


def count_different(num_traces: int) -> int:
    """Traces whose gradients are not the first's."""
    first = one_step()
    return sum(one_step() != first for _ in range(num_traces - 1))


def milliseconds(function: Callable[..., tf.Tensor], *args: tf.Tensor) -> float:
    """The median of 20 calls, compiled."""
    compiled = tf.function(function, autograph=False)
    compiled(*args)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        compiled(*args)
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


def forward_and_back(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Our maxima's gradient, the forward pass included."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        maxima = pooling.max_pool(inputs, (2,) * 3, (2,) * 3, "SAME")
    return tape.gradient(maxima, inputs, upstream)


def other_kernel(inputs: tf.Tensor, maxima: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """What TensorFlow runs where it has not met the forward pass."""
    window = [1, 2, 2, 2, 1]
    return tf.raw_ops.MaxPool3DGrad(
        orig_input=inputs,
        orig_output=maxima,
        grad=upstream,
        ksize=window,
        strides=window,
        padding="SAME",
    )


def main() -> None:
    """Prints the times and the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=int, default=100)
    traces = parser.parse_args().traces
    configure_threads(1)
    inputs = tf.cast(tf.random.normal(TIMED), tf.bfloat16)
    maxima = tf.nn.max_pool3d(inputs, 2, 2, "SAME")
    upstream = tf.ones_like(maxima)
    print(f"{TIMED} in bfloat16, one thread, milliseconds")
    print(f"  forward and back, ours    {milliseconds(forward_and_back, inputs, upstream):8.2f}")
    print(
        f"  back, by the other kernel {milliseconds(other_kernel, inputs, maxima, upstream):8.2f}"
    )
    print(f"{traces} traces of a step, those that differ from the first")
    print(f"  ours         {count_different(traces):4d}")
    # With whichever gradient it chooses, of the normalised tensor itself.
    pooled_normalization.max_pool = lambda values, *args, places: tf.nn.max_pool(values, *args)
    print(f"  TensorFlow's {count_different(traces):4d}")


if __name__ == "__main__":
    main()
