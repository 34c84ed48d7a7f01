"""Our half of step_time.py: a server of timed blocks of steps, in a process of its own.

Reads one JSON line a request on standard input, {"setting": name, "steps": n}, and answers with the
seconds of each step and with the process's peak memory. A setting is a dtype policy, and may go on
with "+recompute" or "+group"; "convolutions" instead of the network are its convolutions alone,
forward and both gradients, one after the other: what no training step of it can fall below.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

from mlp_med.models.convolution import Convolution3D
from mlp_med.models.normalization import FusedBatchNormalization, GroupNormalization
from mlp_med.models.pooled_normalization import PooledNormalization
from mlp_med.models.recomputation import RecomputedConvolutions
from mlp_med.training.allocator import keep_freed_memory
from mlp_med.training.memory import peak_memory_bytes
from mlp_med.training.threads import configure_threads

WIDTHS = (16, 32, 64, 128)
SETTLING_SECONDS = 0.3
Step = Callable[[], float]


def network(spatial_dims: int, *, group: bool, recompute: bool) -> keras.Model:
    """Four stages of two convolutions + norm + ReLU, max-pool between, then a global average."""
    convolution = {2: keras.layers.Conv2D, 3: Convolution3D}[spatial_dims]
    pooling = {2: keras.layers.MaxPooling2D, 3: keras.layers.MaxPooling3D}[spatial_dims]
    norm = GroupNormalization if group else FusedBatchNormalization
    inputs = keras.Input((*[None] * spatial_dims, 1))
    first, *others = [width for width in WIDTHS for _ in range(2)]
    x = convolution(first, 3, padding="same", use_bias=False)(inputs)
    for index, width in enumerate(others, start=1):
        halve = index % 2 == 0
        normalize = norm(relu=not halve)
        if halve:
            normalize = PooledNormalization(normalize, pooling(2))
        convolve = convolution(width, 3, padding="same", use_bias=False)
        if recompute:
            (x,) = RecomputedConvolutions(normalize, [convolve])(x)
        else:
            x = convolve(normalize(x))
    x = keras.ops.mean(norm()(x), axis=tuple(range(1, spatial_dims + 1)))
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(x))


def network_step(grid: Sequence[int], batch_size: int, setting: str) -> Step:
    """A function that takes one optimiser step (SGD with momentum) and returns its seconds."""
    precision, *options = setting.split("+")
    keras.config.set_dtype_policy(precision)
    model = network(len(grid), group="group" in options, recompute="recompute" in options)
    keras.config.set_dtype_policy("float32")
    images = tf.Variable(tf.random.stateless_normal((batch_size, *grid, 1), seed=(1, 2)))
    labels = tf.cast(tf.random.stateless_uniform((batch_size, 1), seed=(3, 4)) > 0.5, tf.float32)
    variables = [variable.value for variable in model.trainable_variables]
    momenta = [tf.Variable(tf.zeros_like(variable)) for variable in variables]

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = model(images.value(), training=True)
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, variables)
        for variable, momentum, gradient in zip(variables, momenta, gradients, strict=True):
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle, accum=momentum.handle, lr=0.01, grad=gradient, momentum=0.9
            )
        return loss

    def timed() -> float:
        began = time.perf_counter()
        float(step())
        return time.perf_counter() - began

    return timed


def convolutions_step(grid: Sequence[int], batch_size: int, setting: str) -> Step:
    """A function that runs each convolution and its gradients, and returns the seconds of all."""
    dtype = tf.bfloat16 if "bfloat16" in setting else tf.float32
    calls: list[Callable[[], Any]] = []
    num_channels = 1
    for stage, width in enumerate(WIDTHS):
        size = [edge >> stage for edge in grid]
        for _ in range(2):
            calls += _convolution_calls(size, batch_size, num_channels, width, dtype)
            num_channels = width

    def timed() -> float:
        total = 0.0
        for call in calls:
            began = time.perf_counter()
            call()
            total += time.perf_counter() - began
        return total

    return timed


def _convolution_calls(
    size: Sequence[int], batch_size: int, num_channels: int, width: int, dtype: tf.DType
) -> list[Callable[[], Any]]:
    """Forward, filter gradient and, but for the network's input, input gradient."""
    dims = len(size)
    name = f"Conv{dims}D"
    suffix = "V2" if dims == 3 else ""

    def random(*shape: int) -> tf.Tensor:
        return tf.cast(tf.random.stateless_normal(shape, seed=(1, 2)), dtype)

    inputs, outputs = (random(batch_size, *size, channels) for channels in (num_channels, width))
    kernel = random(*[3] * dims, num_channels, width)
    common = {"strides": [1] * (dims + 2), "padding": "SAME"}
    forward = getattr(tf.raw_ops, name)
    by_filter = getattr(tf.raw_ops, f"{name}BackpropFilter{suffix}")
    by_input = getattr(tf.raw_ops, f"{name}BackpropInput{suffix}")
    calls = [
        lambda: forward(input=inputs, filter=kernel, **common),
        lambda: by_filter(input=inputs, filter_sizes=kernel.shape, out_backprop=outputs, **common),
    ]
    if num_channels > 1:
        calls.append(
            lambda: by_input(
                input_sizes=inputs.shape, filter=kernel, out_backprop=outputs, **common
            )
        )
    return calls


def main() -> None:
    """Answers requests until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", type=int, nargs="+", required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    configure_threads(arguments.threads)
    keep_freed_memory()
    steps: dict[str, Step] = {}
    print(json.dumps({"version": tf.__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        setting = request["setting"]
        if setting not in steps:
            make = convolutions_step if setting.startswith("convolutions") else network_step
            steps[setting] = make(arguments.grid, arguments.batch_size, setting)
            steps[setting]()
        # The other side's threads may still be spinning, and one step does not count.
        time.sleep(SETTLING_SECONDS)
        steps[setting]()
        seconds = [steps[setting]() for _ in range(request["steps"])]
        answer = {"seconds": seconds, "peak_memory_bytes": peak_memory_bytes()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
