import functools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlp_med.studies.launchers import local
from mlp_med.studies.launchers.local import launch_local
from mlp_med.studies.orders import TAKEN_OVER, Done, Failed, Job, Order, Progress
from mlp_med.studies.room import Machine, Needs
from tests.faults import fault
from tests.studies.launcher_work import do_as_the_seed_says


@pytest.fixture
def launch(make_cell, tmp_path):
    def run(seeds, num_concurrent=2, memory_bytes=0, **options):
        events = []
        jobs = [
            Job(
                Needs(1, memory_bytes),
                lambda seed=seed: Order(make_cell(seed=seed), str(seed), "", str(tmp_path), 0.0),
            )
            for seed in seeds
        ]
        launch_local(
            jobs,
            do_as_the_seed_says,
            lambda order, event: events.append((order.cell.seed, event)),
            machine=Machine("here", num_concurrent, num_concurrent * memory_bytes),
            preload=[],
            **options,
        )
        return events

    return run


@fault(
    "SIGKILL of a cell",
    sees="failed ARM: killed: ended by SIGKILL",
    lost="that cell's training",
    goes_on="other cells run on; the same command tries it again",
)
def test_each_way_to_end_is_told_apart_and_stops_no_other_cell(launch):
    events = launch([0, 1, 2, 3, 4, 6])
    ends = {seed: event for seed, event in events if not isinstance(event, Progress)}
    assert ends[0] == ends[6] == Done()
    assert (ends[1].kind, ends[1].message) == ("non_finite_loss", "the loss became nan")
    assert ends[2].kind == "killed"
    assert "SIGKILL" in ends[2].message
    assert ends[3].kind == "ValueError"
    assert "a defect of ours" in ends[3].message
    assert "launcher_work.py" in ends[3].message  # a defect keeps its traceback
    assert (ends[4].kind, "code 7" in ends[4].message) == ("died", True)
    assert sum(isinstance(event, Done | Failed) for _, event in events) == 6


def test_an_end_by_memory_says_what_was_measured_and_what_was_predicted(launch):
    """TensorFlow finds no room for a tensor, as on a full GPU; the kernel's way is SIGKILL."""
    events = launch([2, 8], memory_bytes=123_000_000)
    ends = {seed: event for seed, event in events if not isinstance(event, Progress)}
    assert (ends[2].kind, ends[8].kind) == ("killed", "out_of_memory")
    assert "OOM when allocating tensor" in ends[8].message
    assert "Traceback" not in ends[8].message
    for end in ends.values():
        assert re.search(r"; its peak memory was \d+ MB, 123 MB were predicted$", end.message)


def test_progress_arrives_before_the_end(launch):
    events = [event for _, event in launch([0])]
    assert events == [Progress(40), Done()]


def test_a_cell_that_another_sweep_took_over_is_ended(launch, tmp_path):
    note = tmp_path / "5.pid"
    events = launch(
        [5, 0], is_lost=lambda order: order.cell.seed == 5 and note.exists() and note.read_text()
    )
    ends = {seed: event for seed, event in events if not isinstance(event, Progress)}
    assert ends[0] == Done()
    assert (ends[5].kind, ends[5].message) == (TAKEN_OVER.kind, TAKEN_OVER.message)
    assert not Path(f"/proc/{note.read_text().splitlines()[0]}").exists()


def test_memory_counts_as_cores_do(make_cell, tmp_path):
    running, most = set(), []

    def open_order(seed):
        running.add(seed)
        most.append(len(running))
        return Order(make_cell(seed=seed), str(seed), "", str(tmp_path), 0.0)

    def end(order, event):
        if isinstance(event, Done | Failed):
            running.discard(order.cell.seed)

    jobs = [Job(Needs(1, 6), functools.partial(open_order, seed)) for seed in (0, 6, 7)]
    machine = Machine("here", cores=8, memory_bytes=11)
    launch_local(jobs, do_as_the_seed_says, end, machine=machine, preload=[])
    assert most == [1, 1, 1]


def test_a_job_that_needs_no_process_any_more_stops_no_other(make_cell, tmp_path):
    order = Order(make_cell(seed=0), "0", "", str(tmp_path), 0.0)
    jobs = [Job(Needs(1), lambda: None), Job(Needs(1), lambda: order)]
    events = []
    launch_local(
        jobs,
        do_as_the_seed_says,
        lambda _, event: events.append(event),
        machine=Machine("here", 1, 0),
        preload=[],
    )
    assert events[-1] == Done()


def test_a_cell_has_its_own_process_and_temporary_directory_which_is_removed(launch, tmp_path):
    launch([0, 6, 7], num_concurrent=1)
    notes = [(tmp_path / f"{seed}.pid").read_text().split("\n") for seed in (0, 6, 7)]
    assert len({pid for pid, _ in notes} | {str(os.getpid())}) == 4
    assert len({directory for _, directory in notes}) == 3
    assert not any(Path(directory).exists() for _, directory in notes)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_cells_at_once_stay_next_to_memories_of_their_own(launch, tmp_path, monkeypatch):
    first, second, *_ = sorted(os.sched_getaffinity(0))
    nodes = [frozenset({first}), frozenset({second})]
    monkeypatch.setattr(local, "memory_nodes", lambda: nodes)
    launch([0, 6])
    places = {(tmp_path / f"{seed}.cores").read_text() for seed in (0, 6)}
    assert places == {f"[{first}]", f"[{second}]"}


def test_a_cell_of_more_threads_than_a_node_has_cores_takes_all(make_cell, monkeypatch):
    monkeypatch.setattr(local, "memory_nodes", lambda: [frozenset({0, 1}), frozenset({2})])
    places = [local._place(make_cell(intra_op_threads=n), []) for n in (1, 2, 3)]
    assert places == [{0, 1}, {0, 1}, {0, 1, 2}]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@fault(
    "SIGKILL of a sweep",
    sees="nothing more",
    lost="the running cells",
    goes_on="the same command goes on from the cells that are done",
)
def test_no_cell_outlives_its_study(how, tmp_path):
    script = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
sys.path.insert(0, {str(Path.cwd())!r})
from mlp_med.studies.cell import Cell
from mlp_med.studies.launchers.local import launch_local
from mlp_med.studies.orders import Job, Order
from mlp_med.studies.room import Machine, Needs
from tests.studies.launcher_work import do_as_the_seed_says
cell = Cell(dataset="d", dataset_digest="", resolution=5, grid=5, control="none", model="m",
    depth="fixed", norm="batch", precision="float32", global_batch_size=1,
    accumulation_steps=1, moment_window_batch=0, recompute=False, stream_tile=0, split=1,
    tile_labels="image",
    learning_rate=1, budget_examples=1, fold=-1, training_fraction=1.0, num_evaluations=1,
    stop_at_training_loss=0.0, augment=True, intra_op_threads=1, num_workers=1,
    scored_split="test", seed=5)
if __name__ == "__main__":
    jobs = [Job(Needs(1), lambda: Order(cell, "", "", {str(tmp_path)!r}, 0.0))]
    launch_local(jobs, do_as_the_seed_says, lambda *_: None, machine=Machine("", 1, 0), preload=[])
"""
    path = tmp_path / "study.py"
    path.write_text(script)
    study = subprocess.Popen([sys.executable, str(path)], stderr=subprocess.DEVNULL)
    note = tmp_path / "5.pid"
    _wait_until(lambda: note.exists() and note.read_text().count("\n") == 1)
    pid = int(note.read_text().split("\n")[0])
    study.send_signal(how)
    assert study.wait(10) != 0
    _wait_until(lambda: not Path(f"/proc/{pid}").exists())


def _wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
