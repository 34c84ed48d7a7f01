"""Our training step beside PyTorch's: the same 3D network, in turns, in one run.

    python benchmarks/step_time.py --torch-python PATH --threads 2 --out step_time.json

The network is four stages of two 3×3×3 convolutions + batch norm + ReLU, 16-32-64-128 channels,
max-pool between, global average pool, SGD with momentum; 32³ voxels × batch 16 by default. Both
sides run short blocks in turn, so that what else happens on the machine falls on both alike; only
the ratios within one run mean anything. PyTorch (extra `bench`) may live in another environment:
give its interpreter with --torch-python.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

from mlp_med.models.convolution import Convolution3D
from mlp_med.models.normalization import FusedBatchNormalization
from mlp_med.training.precision import cpu_has_bfloat16
from mlp_med.training.threads import available_cores, configure_threads

WIDTHS = (16, 32, 64, 128)
STEPS_PER_BLOCK = 2
SETTLING_SECONDS = 0.3


def network() -> keras.Model:
    """Our layers in the benchmark's network."""
    inputs = x = keras.Input((None, None, None, 1))
    for stage, width in enumerate(WIDTHS):
        if stage:
            x = keras.layers.MaxPooling3D(2)(x)
        for _ in range(2):
            x = Convolution3D(width, 3, padding="same", use_bias=False)(x)
            x = FusedBatchNormalization()(x)
    x = keras.ops.mean(x, axis=(1, 2, 3))
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(x))


def our_step(grid: int, batch_size: int, precision: str) -> Callable[[], float]:
    """A function that takes one of our steps and returns its seconds."""
    keras.config.set_dtype_policy(precision)
    model = network()
    keras.config.set_dtype_policy("float32")
    images = tf.random.stateless_normal((batch_size, grid, grid, grid, 1), seed=(1, 2))
    labels = tf.cast(tf.random.stateless_uniform((batch_size, 1), seed=(3, 4)) > 0.5, tf.float32)
    variables = [variable.value for variable in model.trainable_variables]
    momenta = [tf.Variable(tf.zeros_like(variable)) for variable in variables]

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, model(images, training=True))
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

    for _ in range(2):
        timed()
    return timed


class Torch:
    """PyTorch's half in its own process, asked for one block at a time."""

    def __init__(self, python: str, grid: int, batch_size: int, threads: int):
        script = Path(__file__).with_name("torch_step.py")
        sizes = ["--grid", str(grid), "--batch-size", str(batch_size), "--threads", str(threads)]
        self._process = subprocess.Popen(
            [python, str(script), *sizes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.version = self._answer()["version"]

    def block(self, setting: str, steps: int) -> list[float] | str:
        """Seconds of each step, or why the setting cannot run."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"setting": setting, "steps": steps}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        return answer["error"] if "error" in answer else answer["seconds"]

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("PyTorch's process ended; does --torch-python have torch installed?")
        return json.loads(line)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs the blocks in turn and returns every step's seconds by setting."""
    precisions = ["float32", *(["mixed_bfloat16"] if cpu_has_bfloat16() else [])]
    layouts = ["contiguous", "channels_last", "contiguous+compile", "channels_last+compile"]
    if cpu_has_bfloat16():
        layouts += ["channels_last+bfloat16", "channels_last+bfloat16+compile"]
    ours = {
        f"mlp_med {name}": our_step(arguments.grid, arguments.batch_size, name)
        for name in precisions
    }
    torch = Torch(arguments.torch_python, arguments.grid, arguments.batch_size, arguments.threads)
    seconds: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    try:
        for _ in range(arguments.blocks):
            for name, step in ours.items():
                _settle(step)
                seconds.setdefault(name, []).extend(step() for _ in range(STEPS_PER_BLOCK))
            for layout in layouts:
                name = f"PyTorch {layout}"
                if name in failed:
                    continue
                answer = torch.block(layout, STEPS_PER_BLOCK)
                if isinstance(answer, str):
                    failed[name] = answer
                else:
                    seconds.setdefault(name, []).extend(answer)
    finally:
        torch.close()
    return {"seconds": seconds, "failed": failed, "torch": torch.version}


def _settle(step: Callable[[], float]) -> None:
    """Lets the other side's threads stop spinning, and takes a step that does not count."""
    time.sleep(SETTLING_SECONDS)
    step()


def summarise(measured: dict[str, Any]) -> dict[str, Any]:
    """Best and median seconds by setting, and PyTorch's best over ours."""
    table = {
        name: {"best": min(values), "median": statistics.median(values), "steps": len(values)}
        for name, values in measured["seconds"].items()
    }

    def ratio(figure: str) -> float:
        best = {
            side: min(row[figure] for name, row in table.items() if name.startswith(side))
            for side in ("PyTorch", "mlp_med")
        }
        return best["PyTorch"] / best["mlp_med"]

    return {
        "table": table,
        "torch_over_ours": {
            "best": ratio("best"),
            "median": ratio("median"),
            "median_block": statistics.median(_block_ratios(measured["seconds"])),
        },
        "failed": measured["failed"],
    }


def _block_ratios(seconds: dict[str, list[float]]) -> list[float]:
    """PyTorch's fastest step over ours in each round of blocks."""
    num_steps = min(len(values) for values in seconds.values())
    ratios = []
    for first in range(0, num_steps, STEPS_PER_BLOCK):
        fastest = {
            side: min(
                min(values[first : first + STEPS_PER_BLOCK])
                for name, values in seconds.items()
                if name.startswith(side)
            )
            for side in ("PyTorch", "mlp_med")
        }
        ratios.append(fastest["PyTorch"] / fastest["mlp_med"])
    return ratios


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grid", type=int, default=32, help="voxels along an edge")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--blocks", type=int, default=10, help=f"of {STEPS_PER_BLOCK} steps each")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    arguments = parser.parse_args()
    configure_threads(arguments.threads)
    measured = measure(arguments)
    summary = summarise(measured)
    print(f"{arguments.grid}³ × batch {arguments.batch_size}, {arguments.threads} threads")
    for name, row in sorted(summary["table"].items(), key=lambda item: item[1]["best"]):
        print(f"{name:35} best {row['best']:7.3f} s   median {row['median']:7.3f} s")
    for name, reason in summary["failed"].items():
        print(f"{name:35} cannot run here: {reason}")
    ratios = summary["torch_over_ours"]
    print(
        f"PyTorch's best setting / ours: {ratios['best']:.2f} best of all steps, "
        f"{ratios['median']:.2f} median, {ratios['median_block']:.2f} median over rounds"
    )
    if arguments.out is not None:
        context = {
            "grid": arguments.grid,
            "batch_size": arguments.batch_size,
            "threads": arguments.threads,
            "processor": _processor(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "torch": measured["torch"],
        }
        arguments.out.write_text(json.dumps({**context, **summary}, indent=2) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    main()
