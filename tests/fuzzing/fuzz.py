"""Reads mutants of every format that is read, and tells what came of them, as a table.

    python -m tests.fuzzing.fuzz --mutants 10000 --out build/fuzz

A mutant may be read or refused with one of the project's own errors, and nothing else. They are
read in processes of their own: one that dies or is silent for too long is counted and replaced.
"""

import argparse
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from mlp_med.cores import available_cores

SECONDS_A_MUTANT = 20.0
STARTING_SECONDS = 120.0
ROOT = Path(__file__).parents[2]
# Files are written by the ten thousand: not to a disk, where that can be had.
IN_MEMORY = next((place for place in ("/dev/shm",) if os.access(place, os.W_OK)), None)
FAULTS = ("defect", "memory", "crashed", "hung")


@dataclass
class Tally:
    """What became of the mutants of a format."""

    name: str
    mutants: int = 0
    states: Counter = field(default_factory=Counter)
    kinds: Counter = field(default_factory=Counter)
    peak: int = 0
    slowest: float = 0.0
    seconds: float = 0.0
    faults: list[dict] = field(default_factory=list)

    def add(self, told: dict) -> None:
        self.mutants += 1
        self.states[told["state"]] += 1
        if told["state"] == "refused":
            self.kinds[told["kind"]] += 1
        self.peak = max(self.peak, told.get("peak", 0))
        self.slowest = max(self.slowest, told.get("seconds", 0.0))
        if told["state"] in FAULTS:
            self.faults.append(told)

    def row(self) -> dict[str, object]:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.kinds.most_common())
        return {
            "format": self.name,
            "mutants": f"{self.mutants:,}",
            "read": f"{self.states['read']:,}",
            "refused, by kind": kinds or "0",
            "another error": self.states["defect"],
            "crashed": self.states["crashed"],
            "hung": self.states["hung"],
            "over memory": self.states["memory"],
            "peak MB": round(self.peak / 1e6),
            "slowest s": f"{self.slowest:.2f}",
            "seconds": round(self.seconds),
        }


def fuzz(name: str, mutants: int, first: int = 0) -> Tally:
    """Reads the mutants `first` to `first + mutants` of a format."""
    tally, started = Tally(name), time.monotonic()
    number, stop = first, first + mutants
    while number < stop:
        with tempfile.TemporaryDirectory(prefix="mlp-med-fuzz-", dir=IN_MEMORY) as folder:
            number = _until_it_dies(tally, folder, number, stop)
    tally.seconds = time.monotonic() - started
    return tally


def _until_it_dies(tally: Tally, folder: str, first: int, stop: int) -> int:
    """Lets one process read mutants; returns the number of the next one to be read."""
    command = [sys.executable, "-m", "tests.fuzzing.reading", tally.name, folder]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [*command, str(first), str(stop)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
        ) as process,
    ):
        assert process.stdout
        reading = None
        try:
            while (line := _line(process.stdout, reading is None)) is not None:
                if not line:
                    break
                told = json.loads(line)
                reading = told["number"]
                if told["state"] != "begins":
                    tally.add(told)
                    first = reading + 1
        finally:
            process.kill()
        code = process.wait()
        if first == stop:
            return stop
        errors.seek(0)
        said = errors.read().decode(errors="replace")[-2000:]
        if reading is None:
            raise RuntimeError(f"no mutant of {tally.name} was begun: {said}")
        state = "hung" if line is None else "crashed"
        tally.add({"number": reading, "state": state, "detail": f"exit code {code}\n{said}"})
        return reading + 1


def _line(stream, starting: bool) -> bytes | None:
    """The next line; b"" at the end; None where none comes in time."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        if not selector.select(STARTING_SECONDS if starting else SECONDS_A_MUTANT):
            return None
    return stream.readline()


def as_markdown(tallies: list[Tally]) -> str:
    rows = [tally.row() for tally in tallies]
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(map(str, row.values())) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _write(out: Path, tallies: list[Tally]) -> None:
    faults = [{"format": tally.name, **fault} for tally in tallies for fault in tally.faults]
    (out / "faults.json").write_text(json.dumps(faults, indent=1))
    (out / "table.md").write_text(as_markdown(tallies))


def main() -> None:
    from tests.fuzzing.formats import FORMATS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000, help="of each format")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--format", action="append", choices=list(FORMATS), help="all if absent")
    parser.add_argument("--processes", type=int, default=available_cores(), help="formats at once")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = options.format or list(FORMATS)
    tallies: dict[str, Tally] = {}
    with ThreadPoolExecutor(options.processes) as pool:
        running = {pool.submit(fuzz, name, options.mutants, options.first): name for name in wanted}
        for done in as_completed(running):
            tallies[running[done]] = done.result()
            _write(options.out, [tallies[name] for name in wanted if name in tallies])
            print(as_markdown([done.result()]).splitlines()[-1], flush=True)
    print("\n" + as_markdown([tallies[name] for name in wanted]))
    if any(tally.faults for tally in tallies.values()):
        sys.exit(f"there are faults: {options.out / 'faults.json'}")


if __name__ == "__main__":
    main()
