import multiprocessing
import signal
import time
from collections import Counter

import pytest

from mlp_med.ledger import leases, study_run, write
from mlp_med.ledger.read import read_study
from mlp_med.ledger.store import open_ledger
from mlp_med.studies.launchers.local import launch_local
from mlp_med.studies.orders import TAKEN_OVER, Done, Failed
from mlp_med.studies.room import Machine, Needs
from tests.faults import fault
from tests.studies import sweep_work
from tests.studies.sweep_work import DIVERGES, no_work, sweep, write_only

GB = 10**9
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["mlflow.store.tracking.sqlalchemy_store", "mlflow", "keras"])


@pytest.fixture
def cells(make_cell):
    return [make_cell(seed=seed) for seed in range(8)]


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    database = tmp_path_factory.mktemp("blank") / "mlflow.db"
    open_ledger(f"sqlite:///{database}")
    return database.read_bytes()


@pytest.fixture
def uri(blank, tmp_path):
    (tmp_path / "mlflow.db").write_bytes(blank)
    return f"sqlite:///{tmp_path}/mlflow.db"


def runs(tmp_path) -> Counter:
    return Counter(map(int, (tmp_path / "runs").read_text().split()))


def test_two_sweeps_share_the_cells_and_both_end_with_all_of_them(uri, cells, tmp_path):
    processes = [
        CONTEXT.Process(target=sweep_work.sweep_and_note, args=(name, uri, cells, tmp_path, 0.3))
        for name in ("one", "other")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert runs(tmp_path) == dict.fromkeys(range(8), 1)
    states = " ".join(["done"] * DIVERGES + ["failed"])
    assert (tmp_path / "one").read_text() == states
    assert (tmp_path / "other").read_text() == states
    ledger = open_ledger(uri)
    record = read_study(ledger, name="shared")
    assert len({cell.tags["holder"] for cell in record.cells}) == 2
    assert ledger.client.get_run(record.run_id).info.status == "FINISHED"


@fault(
    "SIGKILL of a sweep",
    sees="nothing more",
    lost="the running cells",
    goes_on="another sweep, or the same command, takes its cells over",
)
def test_what_a_killed_sweep_left_is_told_and_runs_again(uri, cells, tmp_path):
    hung = CONTEXT.Process(
        target=sweep_work.sweep_and_note, args=("hung", uri, cells, tmp_path, 600.0)
    )
    hung.start()
    while not (tmp_path / "runs").exists():
        time.sleep(0.05)
        assert hung.is_alive()
    waits = []

    def kill(held):
        waits.append([cell.seed for cell in held])
        hung.kill()
        hung.join()

    record = sweep(uri, cells, tmp_path, on_wait=kill)
    assert waits == [[0]]  # beside a live sweep its cell is let alone
    assert runs(tmp_path) == {**dict.fromkeys(range(8), 1), 0: 2}
    assert Counter(cell.state for cell in record.cells) == {"done": 7, "failed": 1}
    ledger = open_ledger(uri)
    experiment = ledger.client.get_run(record.run_id).info.experiment_id
    left = ledger.client.search_runs([experiment], "tags.`mlp_med.failure_kind` = 'interrupted'")
    assert [run.data.tags["mlp_med.cell_hash"] for run in left] == [cells[0].hash]


def test_a_sweep_that_is_begun_again_runs_nothing_twice(uri, cells, tmp_path):
    sweep(uri, cells, tmp_path)
    sweep(uri, cells, tmp_path)
    assert runs(tmp_path) == dict.fromkeys(range(8), 1)
    sweep(uri, cells, tmp_path, retry_failed=True)
    assert runs(tmp_path)[DIVERGES] == 2


def test_a_cell_that_was_taken_over_is_waited_for_and_not_ended_here(uri, cells, tmp_path):
    """As if this sweep had slept: it is told that a cell of its own has another holder."""
    ledger = open_ledger(uri)
    real, told = no_work(ledger, tmp_path), []

    def launch(jobs, work, on_event, *, is_lost):
        if told:
            real(jobs, work, on_event, is_lost=is_lost)
            return
        order = jobs[0].open()
        told.append(order.run_id)
        on_event(order, TAKEN_OVER)
        real(jobs[1:], work, on_event, is_lost=is_lost)

    events = []
    record = sweep(
        uri, cells, tmp_path, launch=launch, on_event=lambda cell, event: events.append(event)
    )
    assert Counter(cell.state for cell in record.cells) == {"done": 7, "failed": 1}
    assert events.count(Done()) == 7
    assert TAKEN_OVER in events


def test_a_failure_of_another_sweep_is_told_and_not_tried_again(uri, cells, tmp_path, monkeypatch):
    """The other one's cell ends while this one waits: killed, say, which this one did not do."""
    ledger = open_ledger(uri)
    study = sweep_work.study_of(cells)
    study_run_id = study_run.start_study(ledger, study.name, study.hash, study.plan(), {})
    monkeypatch.setattr(leases, "_machine", lambda: "another")
    holder = leases.Leases(ledger, study_run_id)
    monkeypatch.undo()
    lease = holder.take(cells[0].hash)
    dataset = write.DatasetInput("d", "0", "/d", {"test": 1})
    tags = {"lease": str(lease), "holder": holder.holder}
    params, of = cells[0].to_params(), cells[0].hash
    run_id = write.start_cell(ledger, study_run_id, params, of, "5mm", tags, dataset)

    def on_wait(held):
        assert [cell.hash for cell in held] == [of]
        write.fail_cell(ledger, run_id, "killed", "by the kernel")
        holder.release(of)

    events = []
    sweep(uri, cells, tmp_path, on_wait=on_wait, on_event=lambda c, e: events.append((c.seed, e)))
    assert events[-1] == (0, Failed("killed", "by the kernel"))
    assert 0 not in runs(tmp_path)


def test_done_is_believed_before_the_last_words_of_a_killed_cell(uri, cells, tmp_path):
    ledger = open_ledger(uri)
    real = no_work(ledger, tmp_path)

    def launch(jobs, work, on_event, *, is_lost):
        killed = Failed("killed", f"ended by {signal.Signals.SIGKILL.name}")
        real(
            jobs,
            work,
            lambda order, event: on_event(order, killed if event == Done() else event),
            is_lost=is_lost,
        )

    record = sweep(uri, cells, tmp_path, launch=launch)
    assert Counter(cell.state for cell in record.cells) == {"done": 7, "failed": 1}


def test_a_cell_that_no_machine_can_hold_is_infeasible_and_the_others_run(uri, cells, tmp_path):
    """With its estimate; the same command lets it be, and on a larger machine it can be asked."""
    ledger, few = open_ledger(uri), cells[:3]

    def sweep_on(memory_bytes, **options):
        machine = Machine("this machine", 2, memory_bytes, total_memory_bytes=memory_bytes)
        events = []

        def launch(jobs, work, on_event, *, is_lost):
            launch_local(jobs, write_only, on_event, machine=machine, preload=[], is_lost=is_lost)

        record = sweep(
            uri,
            few,
            tmp_path,
            launch=launch,
            needs_of=lambda cells: [Needs(1, 9 * GB if c.seed == 0 else GB) for c in cells],
            on_event=lambda cell, event: events.append((cell.seed, event)),
            **options,
        )
        return [str(cell.state) for cell in record.cells], record.cells[0], dict(events)

    states, cell, events = sweep_on(4 * GB)
    assert states == ["infeasible", "done", "done"]
    assert "needs 9.00 GB by the memory plan, and this machine has 4.00 GB" in cell.failure.message
    assert ledger.client.get_run(cell.run_id).data.metrics["predicted_memory_bytes"] == 9 * GB
    assert events[0] == Failed("infeasible", cell.failure.message)
    assert sweep_on(40 * GB)[2] == {}  # as a failure that would come again
    assert sweep_on(40 * GB, retry_failed=True)[0] == ["done"] * 3
