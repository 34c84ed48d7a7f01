"""A small part of `make fuzz`, and that the fuzzer sees what it is there to see."""

import mmap
import os
import signal
import time
from pathlib import Path

import pytest

from mlp_med.errors import ImageError
from tests.fuzzing import formats, fuzz, reading
from tests.fuzzing.cases import Case
from tests.fuzzing.mutations import mutant

MUTANTS = 120


@pytest.mark.parametrize("name", formats.FORMATS)
def test_mutants_are_read_or_refused_and_nothing_else(name):
    tally = fuzz.fuzz(name, MUTANTS, first=100_000)
    assert tally.faults == []
    assert tally.mutants == MUTANTS
    assert tally.states["read"] > 0
    assert tally.states["refused"] > 0


def test_a_mutant_is_a_function_of_its_seed_and_differs_from_others():
    data = b"NDims = 3\nDimSize = 5 6 4\n" * 4
    assert mutant(data, "0", text=True) == mutant(data, "0", text=True)
    assert len({mutant(data, str(n), text=True) for n in range(100)}) > 80


def reader_of(error: Exception | None, seconds: float = 0.0) -> Case:
    def read() -> None:
        time.sleep(seconds)
        if error is not None:
            raise error

    return Case(Path("nothing"), read)


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, "read"),
        (ImageError("is cut short"), "refused"),
        (ValueError("anything"), "defect"),
        (MemoryError(), "memory"),
        (chained(ImageError("cannot be read"), RuntimeError("std::bad_alloc")), "memory"),
    ],
)
def test_outcomes_are_told_apart(error, state):
    assert reading._outcome(reader_of(error))["state"] == state


def test_a_process_that_dies_and_one_that_is_silent_are_counted_and_replaced(tmp_path, monkeypatch):
    """The reader is a real process, which kills itself at mutant 3 and sleeps at mutant 6."""
    module = tmp_path / "tests" / "fuzzing" / "reading.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "import json, os, signal, sys, time\n"
        "for number in range(int(sys.argv[3]), int(sys.argv[4])):\n"
        "    print(json.dumps({'number': number, 'state': 'begins'}), flush=True)\n"
        "    if number == 3: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if number == 6: time.sleep(60)\n"
        "    print(json.dumps({'number': number, 'state': 'read'}), flush=True)\n"
    )
    monkeypatch.setattr(fuzz, "ROOT", tmp_path)
    monkeypatch.setattr(fuzz, "SECONDS_A_MUTANT", 2.0)
    tally = fuzz.fuzz("any", 10)
    assert tally.states == {"read": 8, "crashed": 1, "hung": 1}
    assert [fault["number"] for fault in tally.faults] == [3, 6]
    assert f"exit code {-signal.SIGSEGV}" in tally.faults[0]["detail"]


def test_memory_is_that_of_one_mutant():
    held = []

    def take() -> None:
        # Not from the heap, where what another test gave back may be kept resident.
        held.append(mmap.mmap(-1, 50 << 20))
        for page in range(0, 50 << 20, mmap.PAGESIZE):
            held[0][page] = 1

    case = Case(Path(os.devnull), take)
    assert reading._outcome(case)["peak"] > 40 << 20
    held.clear()
    assert reading._outcome(reader_of(None))["peak"] < 10 << 20
