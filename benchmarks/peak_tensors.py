"""Which tensors are alive at the peak of a training step, by TensorFlow's own log of allocations.

The network of step_time.py, at two batches: what an example more takes is their difference. Unlike
the peak of a process it holds no allocator's reserve and no library's scratch, so that it is nearly
the same in every run; the order of operations is the graph's own. Where a processor does not know
bfloat16, other kernels stand in, which unfold their input into a copy for each tap or widen it to
float32: what is larger than any activation is left out, and its largest told.

    python benchmarks/peak_tensors.py --grid 32 32 32 --batches 16 48
"""

import argparse
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

SETTINGS = ("mixed_bfloat16", "mixed_bfloat16+recompute")
MARK = "the step that is looked at"
IDENTITY, SIZE = re.compile(r"allocation_id: (\d+)"), re.compile(r"(?:allocated|num)_bytes: (\d+)")
KERNEL = re.compile(r"kernel_name: \"([^\"]*)\"")
NUM_SHOWN = 6
WIDTH = 16  # channels of the first activations, the largest


@dataclass
class Peak:
    """Bytes that are alive, by allocation; and those that were when most was."""

    largest: int
    alive: dict[str, tuple[int, str]] = field(default_factory=dict)
    highest: int = 0
    at_highest: list[tuple[int, str]] = field(default_factory=list)
    left_out: int = 0

    def read(self, line: str) -> None:
        """Follows one line of the log."""
        identity, size = IDENTITY.search(line), SIZE.search(line)
        if identity is None or "llocation {" not in line:  # outputs are told of as well
            return
        if "Deallocation" in line:
            self.alive.pop(identity[1], None)
        elif size is not None and int(size[1]) > self.largest:
            self.left_out = max(self.left_out, int(size[1]))
        elif size is not None:
            kernel = KERNEL.search(line)
            self.alive.setdefault(identity[1], (int(size[1]), kernel[1] if kernel else ""))
            total = sum(of for of, _ in self.alive.values())
            if total > self.highest:
                self.highest, self.at_highest = total, sorted(self.alive.values(), reverse=True)


def peak_of(setting: str, grid: Sequence[int], batch_size: int, largest: int) -> Peak:
    """The peak of the second step in a process of its own."""
    words = [setting, *map(str, grid), str(batch_size)]
    environment = {**os.environ, "TF_CPP_VMODULE": "log_memory=2", "TF_CPP_MIN_LOG_LEVEL": "0"}
    with subprocess.Popen(
        [sys.executable, __file__, "--step", *words],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        peak = _followed(process.stderr or [], Peak(largest))
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: the process ended with {process.returncode}")
    return peak


def _followed(lines: Iterable[str], peak: Peak) -> Peak:
    marks = 0
    for line in lines:
        if MARK in line:
            marks += 1
            # What is alive before the step counts, how much was alive before it does not.
            peak.highest = peak.highest if marks == 2 else 0
        elif marks < 2:
            peak.read(line)
    return peak


def take_steps(setting: str, grid: Sequence[int], batch_size: int) -> None:
    """One step that traces, and one between two marks in the log."""
    from our_step import network_step

    step = network_step(grid, batch_size, setting)
    step()
    print(MARK, file=sys.stderr, flush=True)
    step()
    print(MARK, file=sys.stderr, flush=True)


def main() -> None:
    """Prints what an example more takes, by setting, and the largest of what is alive."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--grid", type=int, nargs="+", default=[32, 32, 32])
    parser.add_argument("--batches", type=int, nargs=2, default=[16, 48])
    parser.add_argument("--settings", nargs="+", default=SETTINGS)
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        setting, *grid, batch = arguments.step
        take_steps(setting, [int(edge) for edge in grid], int(batch))
        return
    few, many = arguments.batches
    voxels = math.prod(arguments.grid)
    for setting in arguments.settings:
        largest = WIDTH * voxels * (2 if "bfloat16" in setting else 4)  # of an example
        peaks = [peak_of(setting, arguments.grid, batch, largest * batch) for batch in (few, many)]
        more = (peaks[1].highest - peaks[0].highest) / (many - few)
        at_64 = more * 64 ** len(arguments.grid) / voxels
        print(f"{setting}: an example more {more / 1e6:.2f} MB, at a grid of 64 {at_64 / 1e6:.1f}")
        for size, kernel in peaks[1].at_highest[:NUM_SHOWN]:
            print(f"  {size / many / 1e6:6.2f} MB an example  {kernel}")
        if peaks[1].left_out:
            print(f"  left out: scratch of {peaks[1].left_out / many / 1e6:.1f} MB an example")


if __name__ == "__main__":
    main()
