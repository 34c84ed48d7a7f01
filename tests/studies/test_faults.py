"""Faults of the machine under a study: a full disk, no memory left, a clock that is set back."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlp_med.ledger import study_run, write
from mlp_med.ledger.delivery import Delivery, start_or_key, tell
from mlp_med.ledger.read import find_studies, read_study
from mlp_med.ledger.spool import Spool
from mlp_med.ledger.store import open_ledger
from mlp_med.studies.launchers.local import launch_local
from mlp_med.studies.orders import Done, Failed, Job, Order
from mlp_med.studies.room import Machine, Needs
from tests.faults import fault
from tests.ledger.snapshot import snapshot
from tests.ledger.synthetic import plan
from tests.ledger.test_delivery import end_of, start_of
from tests.studies.memory_work import fill_memory, group_of_memory


@contextlib.contextmanager
def small_disk(directory: Path, megabytes: int):
    """A file system of a few megabytes, where mounts are allowed."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(path: Path):
    """Leaves not a byte on the disk that `path` is on."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 4096)


@fault(
    "disk full at logging",
    sees="'database or disk is full', and where the results are kept",
    lost="nothing: results wait in DATA_DIR/spool; with that disk full as well, the running cell",
    goes_on="the study trains on; results are recorded when there is room, at the latest by the "
    "same command",
)
def test_a_disk_that_is_full_under_the_ledger_loses_no_result(blank_database, tmp_path, caplog):
    with small_disk(tmp_path / "disk", 8) as disk:
        shutil.copy(blank_database, disk / "mlflow.db")
        ledger = open_ledger(f"sqlite:///{disk}/mlflow.db")
        study = study_run.start_study(ledger, "resolution", "hash0", plan(), {})
        spool = Spool(tmp_path / "data")
        first, second = start_of(study, 0), start_of(study, 1)
        run_id = start_or_key(ledger, first)
        fill(disk / "filler")
        tell(lambda: ledger, spool, end_of(first, run_id))
        assert len(spool.paths()) == 1
        assert "full" in caplog.text
        assert str(spool.directory) in caplog.text
        key = start_or_key(ledger, second)  # the next cell begins all the same
        assert key == second.key
        tell(lambda: ledger, spool, end_of(second, key))
        assert len(spool.paths()) == 2
        (disk / "filler").unlink()
        assert Delivery(ledger, spool).deliver() == []
        found = snapshot(ledger, study)
        ledger.client._tracking_client.store.engine.dispose()
    plain = open_ledger(f"sqlite:///{shutil.copy(blank_database, tmp_path / 'plain.db')}")
    study = study_run.start_study(plain, "resolution", "hash0", plan(), {})
    for start in (start_of(study, 0), start_of(study, 1)):
        tell(lambda: plain, Spool(tmp_path / "x"), end_of(start, start_or_key(plain, start)))
    assert found == snapshot(plain, study)
    assert {len(runs) for runs in found.values()} == {1}


@fault(
    "out-of-memory kill of a cell",
    sees="failed ARM: killed: ended by SIGKILL by a person or by the kernel, out of memory; its "
    "peak memory was …",
    lost="that cell's training",
    goes_on="other cells run on; the same command tries it again",
)
def test_a_cell_that_the_kernel_kills_for_want_of_memory_is_told_with_its_peak(make_cell, tmp_path):
    with group_of_memory(64 * 2**20) as group:
        if group is None:
            pytest.skip("no control group of memory can be made here")
        ends = {}
        jobs = [
            Job(
                Needs(1),
                lambda seed=seed: Order(make_cell(seed=seed), str(seed), "", str(group), 0.0),
            )
            for seed in (0, 1)
        ]

        def note(order, event):
            ends[order.cell.seed] = event

        here = Machine("here", 1, 0)
        launch_local(jobs, fill_memory, note, machine=here, preload=[])
    assert isinstance(ends[0], Failed)
    assert (ends[0].kind, "SIGKILL" in ends[0].message) == ("killed", True)
    assert "out of memory" in ends[0].message
    assert ends[0].peak_memory_bytes > 20e6
    assert ends[1] == Done()


@fault(
    "clock going backwards",
    sees="nothing",
    lost="nothing: waits go by the monotonic clock, and what is newest by the order of starting",
    goes_on="by itself; durations measured across the jump are wrong",
)
def test_a_clock_that_is_set_back_changes_neither_what_is_done_nor_what_is_newest(
    ledger, tmp_path, monkeypatch
):
    old = study_run.start_study(ledger, "resolution", "hash0", plan(), {})
    other = study_run.start_study(ledger, "resolution", "hash1", plan(), {})
    spool = Spool(tmp_path / "data")
    first = start_of(other, 0)
    run_id = start_or_key(ledger, first)
    write.fail_cell(ledger, run_id, "killed", "by the kernel")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    again = start_of(other, 0)
    assert again.at_ms < first.at_ms
    end = end_of(again, start_or_key(ledger, again))
    monkeypatch.setattr(time, "time", lambda: now() - 7200)
    tell(lambda: ledger, spool, end)
    assert spool.paths() == []
    cell = read_study(ledger, other).cells[0]
    assert (cell.state, cell.metrics["test_auc"]) == ("done", 0.9)
    assert study_run.start_study(ledger, "resolution", "hash0", plan(), {}) == old
    assert find_studies(ledger, "resolution") == [old, other]
    third = study_run.start_study(ledger, "resolution", "hash2", plan(), {})
    assert find_studies(ledger, "resolution") == [third, old, other]
    began = time.monotonic()
    Delivery(ledger, spool).finish(seconds=60)
    assert time.monotonic() - began < 30


def test_a_wait_ends_though_the_clock_is_set_back(ledger, tmp_path):
    script = """
import sys, time
now, began = time.time, time.monotonic()
time.time = lambda: now() - 100 * (time.monotonic() - began)
from mlp_med.ledger.delivery import Delivery
from mlp_med.ledger.spool import Spool
from mlp_med.ledger.store import Ledger
from mlp_med.errors import LedgerUnavailableError
try:
    Delivery(Ledger("http://127.0.0.1:9", None), Spool(sys.argv[1])).finish(seconds=1)
except LedgerUnavailableError:
    sys.exit(7)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    assert subprocess.run(command, env=environment, timeout=120).returncode == 7
