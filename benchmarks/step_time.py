"""Our training step beside PyTorch's: the same networks, in turns, in one run.

    make bench
    python benchmarks/step_time.py --torch-python PATH --shape 32x32x32:16 --out build/bench

The network is four stages of two 3×3(×3) convolutions + batch norm + ReLU, 16-32-64-128 channels,
max-pool between, global average pool, SGD with momentum. Both sides run short blocks in turn, so
that what else happens on the machine falls on both alike; only the ratios within one run mean
anything. Beside them stand the convolutions alone, which no step can undercut, and the memory that
one example more takes. PyTorch (extra `bench`) may live in another environment: give its
interpreter with --torch-python.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from mlp_med.cores import available_cores
from mlp_med.processor import processor_name
from mlp_med.training.precision import cpu_has_bfloat16

SHAPES = ("32x32x32:16", "64x64x64:4", "64x64x64:16", "96x96x96:2", "512x512:8")
MEMORY_SHAPE, MEMORY_BATCHES = (64, 64, 64), (2, 16)
OURS, THEIRS, LIMIT = "mlp_med", "PyTorch", "convolutions"
STEPS_PER_BLOCK = 2


@dataclass(frozen=True)
class Shape:
    """A grid of voxels (pixels), and how many examples a step has."""

    grid: tuple[int, ...]
    batch_size: int

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """Reads "64x64x64:4"."""
        grid, batch_size = text.split(":")
        return cls(tuple(int(edge) for edge in grid.split("x")), int(batch_size))

    def __str__(self) -> str:
        edge = self.grid[0]
        power = {2: "²", 3: "³"}[len(self.grid)]
        return f"{edge}{power} × {self.batch_size}"


def settings() -> dict[str, list[str]]:
    """What each side can do on this machine."""
    precisions = ["float32", *(["mixed_bfloat16"] if cpu_has_bfloat16() else [])]
    ours = [*precisions, f"{precisions[-1]}+recompute", f"{precisions[-1]}+group"]
    limits = [f"{LIMIT} {precision}" for precision in precisions]
    theirs = ["contiguous", "channels_last", "contiguous+compile", "channels_last+compile"]
    if cpu_has_bfloat16():
        theirs += ["channels_last+bfloat16", "channels_last+bfloat16+compile"]
    return {OURS: ours + limits, THEIRS: theirs}


class Server:
    """One side's process, asked for one block at a time."""

    def __init__(self, python: str, script: str, shape: Shape, threads: int):
        path = Path(__file__).with_name(script)
        sizes = ["--grid", *map(str, shape.grid), "--batch-size", str(shape.batch_size)]
        self._process = subprocess.Popen(
            [python, str(path), *sizes, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.version = self._answer()["version"]

    def block(self, setting: str, steps: int) -> dict[str, Any]:
        """Seconds of each step and the peak memory so far, or an error."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"setting": setting, "steps": steps}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args[:2]} ended; does --torch-python have torch?")
        return json.loads(line)


def servers(torch_python: str, shape: Shape, threads: int) -> dict[str, Server]:
    """A fresh process of each side."""
    return {
        OURS: Server(sys.executable, "our_step.py", shape, threads),
        THEIRS: Server(torch_python, "torch_step.py", shape, threads),
    }


def measure(shape: Shape, arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of every step by setting; a setting that cannot run here is left out."""
    sides = servers(arguments.torch_python, shape, arguments.threads)
    seconds: dict[str, list[float]] = {}
    failed: set[str] = set()
    try:
        for _ in range(arguments.blocks):
            for side, names in settings().items():
                for name in names:
                    label = f"{side} {name}"
                    if label in failed:
                        continue
                    answer = sides[side].block(name, STEPS_PER_BLOCK)
                    if "error" in answer:
                        print(f"{label} cannot run here: {answer['error']}", file=sys.stderr)
                        failed.add(label)
                    else:
                        seconds.setdefault(label, []).extend(answer["seconds"])
    finally:
        for server in sides.values():
            server.close()
    return seconds


def summarise(seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Best and median seconds by setting, PyTorch's best over ours, and ours over the limit."""
    table = {
        name: {"best": min(values), "median": statistics.median(values), "steps": len(values)}
        for name, values in seconds.items()
    }

    def fastest(prefix: str, figure: str) -> float:
        return min(row[figure] for name, row in table.items() if name.startswith(prefix))

    limit = f"{OURS} {LIMIT}"
    steps = {name: row for name, row in table.items() if not name.startswith(limit)}
    ours = {
        f: min(r[f] for n, r in steps.items() if n.startswith(OURS)) for f in ("best", "median")
    }
    return {
        "table": table,
        "torch_over_ours": {f: fastest(THEIRS, f) / ours[f] for f in ours},
        "limit_over_ours": {f: fastest(limit, f) / ours[f] for f in ours},
    }


def memory_per_example(arguments: argparse.Namespace) -> dict[str, float]:
    """Bytes of peak memory that one example more takes, by setting; each in fresh processes."""
    found = {}
    for side, names in settings().items():
        for name in names:
            if name.startswith(LIMIT):
                continue
            peaks = []
            for batch_size in MEMORY_BATCHES:
                shape = Shape(MEMORY_SHAPE, batch_size)
                script = {OURS: "our_step.py", THEIRS: "torch_step.py"}[side]
                python = {OURS: sys.executable, THEIRS: arguments.torch_python}[side]
                server = Server(python, script, shape, arguments.threads)
                peaks.append(server.block(name, STEPS_PER_BLOCK).get("peak_memory_bytes"))
                server.close()
            if None not in peaks:
                small, large = MEMORY_BATCHES
                found[f"{side} {name}"] = (peaks[1] - peaks[0]) / (large - small)
    return found


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Bars: seconds of each setting over those of PyTorch's best, a group of bars a shape."""
    mpl.use("Agg")
    names = [*dict.fromkeys(n for r in results["shapes"].values() for n in r["table"])]
    figure, axes = plt.subplots(figsize=(10, 1.2 + 0.19 * len(names) * len(results["shapes"])))
    place, ticks = 0.0, []
    for shape, result in results["shapes"].items():
        best = min(r["median"] for n, r in result["table"].items() if n.startswith(THEIRS))
        rows = sorted(result["table"].items(), key=lambda item: item[1]["median"])
        for name, row in rows:
            colour = "0.6" if LIMIT in name else "C0" if name.startswith(OURS) else "C1"
            axes.barh(place, row["median"] / best, color=colour)
            text = f"{name}: {row['median']:.3f} s"
            axes.text(row["median"] / best + 0.02, place, text, va="center", fontsize=6)
            place -= 1
        ticks.append((place + len(rows) / 2 + 0.5, shape))
        place -= 1
    axes.set_yticks([y for y, _ in ticks], [shape for _, shape in ticks])
    axes.set_xlim(0, 1.3 * axes.get_xlim()[1])  # room for the labels
    axes.axvline(1.0, color="0.3", linewidth=0.8)
    axes.set_xlabel("median seconds of a training step, PyTorch's best setting = 1")
    axes.set_title(f"{results['processor']}, {results['threads']} threads", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def show(results: Mapping[str, Any]) -> None:
    """Prints the tables."""
    for shape, result in results["shapes"].items():
        print(f"\n{shape}, {results['threads']} threads: seconds of a step")
        for name, row in sorted(result["table"].items(), key=lambda item: item[1]["median"]):
            print(f"  {name:42} best {row['best']:7.3f}   median {row['median']:7.3f}")
        torch, limit = result["torch_over_ours"], result["limit_over_ours"]
        print(
            f"  PyTorch's best / ours: {torch['median']:.2f} by medians, {torch['best']:.2f} by "
            f"best steps; convolutions alone / ours: {limit['median']:.2f}, {limit['best']:.2f}"
        )
    if results["memory_per_example"]:
        first, last = MEMORY_BATCHES
        print(f"\n64³, batch {first} → {last}: MB of peak memory an example")
        for name, size in sorted(results["memory_per_example"].items(), key=lambda item: item[1]):
            print(f"  {name:42} {size / 1e6:6.1f}")


def main() -> None:
    """Measures, prints tables, and writes JSON and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", action="append", help="as 64x64x64:4; repeat it; all if absent")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--blocks", type=int, default=5, help=f"of {STEPS_PER_BLOCK} steps each")
    parser.add_argument("--no-memory", action="store_true", help="time alone")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument("--out", type=Path, help="folder for step_time.json and step_time.png")
    arguments = parser.parse_args()
    shapes = [Shape.parse(text) for text in arguments.shape or SHAPES]
    results: dict[str, Any] = {"processor": processor_name(), "threads": arguments.threads}
    results["shapes"] = {str(shape): summarise(measure(shape, arguments)) for shape in shapes}
    results["memory_per_example"] = {} if arguments.no_memory else memory_per_example(arguments)
    show(results)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "step_time.json").write_text(json.dumps(results, indent=2) + "\n")
        draw(results, arguments.out / "step_time.png")


if __name__ == "__main__":
    main()
