import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mlp_med.errors import DatasetError
from tfds_builders.processes import map_unordered

ROOT = Path(__file__).parents[2]

# Workers that say who they are and then sleep for ever.
SLEEPERS = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from tfds_builders.processes import map_unordered
def main():
    print("parent", os.getpid(), flush=True)
    for _ in map_unordered(time.sleep, [0.01, 0.01, 600, 600], 2):
        print("one", flush=True)
if __name__ == "__main__":
    main()
"""


def square(number: int) -> int:
    if number == 7:
        raise ValueError("seven")
    if number == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def test_one_worker_is_this_process() -> None:
    assert list(map_unordered(lambda _: os.getpid(), [1, 2], 1)) == [os.getpid()] * 2


def test_results_of_several_workers_arrive_whatever_their_order() -> None:
    assert sorted(map_unordered(square, [1, 2, 3], 2)) == [1, 4, 9]


def test_an_exception_of_a_job_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match="seven"):
        list(map_unordered(square, [1, 7, 3], 2))


def test_a_killed_worker_is_an_error_and_no_hang() -> None:
    with pytest.raises(DatasetError, match="worker processes died"):
        list(map_unordered(square, [1, 8, 3], 2))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(tmp_path: Path, end: signal.Signals) -> None:
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    with subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as parent:
        parent.stdout.readline()
        parent.stdout.readline()  # the first job is done, so that the workers are at work
        workers = psutil.Process(parent.pid).children(recursive=True)
        assert len(workers) >= 2
        parent.send_signal(end)
        parent.wait(timeout=20)
    deadline = time.monotonic() + 10
    while any(worker.is_running() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [worker for worker in workers if worker.is_running()]
