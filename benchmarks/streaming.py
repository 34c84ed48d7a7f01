"""What tiles cost and what they save: the first stages streamed, beside the whole at once.

    python benchmarks/streaming.py --out build/streaming.json --figure build/streaming.png

A whole exam of four mammograms of 2600 × 2000 pixels and a volume of whole lungs at 1 mm (352³, the
field of dsb2017), one example a step, norm "none". Every row is measured in a process of its own:
optimiser steps as a cell takes them, or the forward pass alone, by tiles or by windows that overlap
as far as the map needs to be the whole one's. The peak is VmHWM; above the base means less what was
resident before the model was built. Seconds are the clock's; those of the processor, of all threads
together, are nearly the same whatever else the machine is doing, so the factors are of them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        case: key of `CASES`.
        what: "train", or "infer" by tiles, or "slide" windows.
        size: edge of a tile or window in voxels; 0 for the whole at once.
        precision: a Keras dtype policy.
        threads: of one operation.
        steps: that are timed, after one that is not.
    """

    case: str
    what: str
    size: int
    precision: str
    threads: int
    steps: int


# Preset, grid, and channels.
CASES: dict[str, tuple[str, tuple[int, ...], int]] = {
    "exam": ("residual_four_views", (2600, 2000), 4),
    "mammogram": ("residual", (2600, 2000), 1),
    "lungs": ("residual", (352, 352, 352), 1),
}
TRAINED = {"exam": (0, 1024, 512, 256), "lungs": (0, 176, 88, 44)}
INFERRED = {"mammogram": (0, 1024, 512, 256), "lungs": (0, 176, 120)}


def measure(row: Row) -> dict[str, float]:
    """Measures in this very process, which should have done nothing before."""
    import keras
    import psutil
    import tensorflow as tf

    from mlp_med.models.presets import preset_arguments
    from mlp_med.models.residual import build_model
    from mlp_med.training.allocator import keep_freed_memory
    from mlp_med.training.memory import peak_memory_bytes, reset_peak_memory
    from mlp_med.training.strategy import make_strategy
    from mlp_med.training.threads import configure_threads

    configure_threads(row.threads)
    keras.config.set_dtype_policy(row.precision)
    preset, grid, num_channels = CASES[row.case]
    images = tf.random.stateless_uniform((1, *grid, num_channels), seed=(1, 2))
    reset_peak_memory()
    base = psutil.Process().memory_info().rss
    strategy = make_strategy()
    with strategy.scope():
        model = build_model(
            spatial_dims=len(grid),
            num_channels=num_channels,
            norm="none",
            stream_tile=0 if row.what == "slide" else row.size,
            **preset_arguments(preset),
        )
    make = {"train": _training_step, "infer": _forward_pass, "slide": _sliding}[row.what]
    began = time.perf_counter()
    step = make(model, images, row, strategy)
    keep_freed_memory()
    value = step()
    seconds_first = time.perf_counter() - began
    seconds, processor_seconds = [], []
    for _ in range(row.steps):
        began, processor_began = time.perf_counter(), time.process_time()
        value = step()
        seconds.append(time.perf_counter() - began)
        processor_seconds.append(time.process_time() - processor_began)
    return {
        "seconds_first": seconds_first,
        "seconds": min(seconds),
        "processor_seconds": min(processor_seconds),
        "base_bytes": base,
        "peak_bytes": peak_memory_bytes(),
        "value": value,
    }


def _training_step(model: Any, images: Any, row: Row, strategy: Any) -> Callable[[], float]:
    """An optimiser step of the training loop; its loss."""
    import tensorflow as tf

    from mlp_med.training.step import compile_training_steps

    batch = (images, tf.ones(1), tf.ones(1))
    run = compile_training_steps(
        model,
        strategy,
        iter(tf.data.Dataset.from_tensors(batch).repeat()),
        num_steps=row.steps + 1,
        global_batch_size=1,
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup_fraction=0.0,
        accumulation_steps=1,
    )
    return lambda: run(1)


def _forward_pass(model: Any, images: Any, row: Row, strategy: Any) -> Callable[[], float]:
    """The logit, outside training."""
    import tensorflow as tf

    score = tf.function(lambda values: model(values, training=False), autograph=False)
    return lambda: float(score(images)[0, 0])


def _sliding(model: Any, images: Any, row: Row, strategy: Any) -> Callable[[], float]:
    """The logit of the map of overlapping windows."""
    import keras

    from mlp_med.models.sliding import make_slider, needed_overlap

    last = model.get_layer("final_norm").output
    stages, others = keras.Model(model.inputs, last), keras.Model(last, model.outputs[0])
    overlap = needed_overlap(stages)
    slide = make_slider(stages, window_size=max(row.size, overlap + 16), overlap=overlap)
    return lambda: float(others(slide(images))[0, 0])


def in_a_process(row: Row) -> dict[str, Any]:
    """Measures a row in a process of its own; one that dies is a result too."""
    command = [sys.executable, __file__, "--row", json.dumps(asdict(row))]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        reason = finished.stderr.strip().splitlines()[-1:] or [f"exit code {finished.returncode}"]
        return {**asdict(row), "failed": reason[0]}
    return {**asdict(row), **json.loads(finished.stdout.splitlines()[-1])}


def described(found: dict[str, Any], whole: dict[str, Any]) -> str:
    """A line for the terminal: time and memory, and their factors over the whole at once."""
    size = f"{found['what']} {found['size'] or 'whole'}"
    name = f"{found['case']:10} {size:14} {found['precision']:16}"
    if "failed" in found:
        return f"{name} died: {found['failed']}"
    peak, base = found["peak_bytes"], found["base_bytes"]
    ours, wholes = (row.get("processor_seconds") for row in (found, whole))
    factor = f" × {ours / wholes:4.2f}" if wholes else ""
    return (
        f"{name} {found['seconds']:7.2f} s, {ours:7.2f} of processors{factor}   "
        f"peak {peak / 1e9:5.2f} GB, {(peak - base) / 1e9:5.2f} above base   "
        f"first {found['seconds_first']:5.1f} s   value {found['value']:.6f}"
    )


def rows_of(cases: Sequence[str], precision: str, threads: int, steps: int) -> list[Row]:
    """Every row of these cases; the whole at once is the first of each kind."""
    settings = (precision, threads, steps)
    trained = [Row(c, "train", size, *settings) for c in cases for size in TRAINED.get(c, ())]
    inferred = [Row(c, "infer", size, *settings) for c in cases for size in INFERRED.get(c, ())]
    slid = [Row(c, "slide", size, *settings) for c in cases for size in INFERRED.get(c, ())[1:]]
    return trained + inferred + slid


def draw(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Time against peak memory, a line a case and kind."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
    done = [row for row in found if "failed" not in row]
    for case, what in dict.fromkeys((row["case"], row["what"]) for row in done):
        rows = [row for row in done if (row["case"], row["what"]) == (case, what)]
        memory = [row["peak_bytes"] / 1e9 for row in rows]
        seconds = [row["processor_seconds"] for row in rows]
        axis.plot(memory, seconds, "o-", label=f"{case}, {what}")
        for x, y, row in zip(memory, seconds, rows, strict=True):
            label = str(row["size"] or "whole")
            axis.annotate(label, (x, y), textcoords="offset points", xytext=(5, 5), fontsize=8)
    axis.set(xlabel="peak memory of the process, GB", ylabel="seconds of processors", yscale="log")
    axis.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measures, prints, and writes JSON and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=[*CASES], action="append", help="only this one")
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--figure", type=Path, help="where to draw them")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row is not None:
        print(json.dumps(measure(Row(**json.loads(arguments.row)))))
        return
    found: list[dict[str, Any]] = []
    cases = arguments.case or [*CASES]
    for row in rows_of(cases, arguments.precision, arguments.threads, arguments.steps):
        result = in_a_process(row)
        kind = "train" if row.what == "train" else "infer"
        found.append(result)
        whole = next(r for r in found if (r["case"], r["what"], r["size"]) == (row.case, kind, 0))
        print(described(result, whole), flush=True)
        if arguments.out is not None:
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.figure is not None:
        arguments.figure.parent.mkdir(parents=True, exist_ok=True)
        draw(found, arguments.figure)


if __name__ == "__main__":
    main()
