import multiprocessing
import time

import pytest

from mlp_med.ledger import leases, study_run, write
from mlp_med.ledger.leases import Leases
from mlp_med.ledger.read import read_cell
from mlp_med.ledger.write import DatasetInput
from tests.ledger import lease_work
from tests.ledger.lease_work import CELLS, HUNG, PLAN
from tests.ledger.mlflow_server import mlflow_server

CELL = CELLS[0]
LEASE_SECONDS = 100.0


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def study(ledger):
    return study_run.start_study(ledger, "shared", "hash0", PLAN, {})


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def elsewhere(monkeypatch):
    """Lets a sweep that begins now be one of another machine, whose processes nobody sees."""

    def on(name: str) -> None:
        monkeypatch.setattr(leases, "_machine", lambda: name)

    return on


@pytest.fixture
def pair(ledger, study, clock, elsewhere):
    """Two sweeps on two machines."""
    elsewhere("a")
    ours = Leases(ledger, study, lease_seconds=LEASE_SECONDS, clock=clock)
    elsewhere("b")
    theirs = Leases(ledger, study, lease_seconds=LEASE_SECONDS, clock=clock)
    return ours, theirs


def pass_seconds(clock, seconds, *sweeps):
    """Time passes; those sweeps see the ledger every ten seconds, and renew nothing."""
    for _ in range(round(seconds / 10)):
        clock.now += 10
        for sweep in sweeps:
            sweep.refresh()


def test_a_cell_has_one_holder_until_it_is_released(pair):
    ours, theirs = pair
    assert ours.take(CELL) == 1
    assert theirs.take(CELL) is None  # refused by the ledger: theirs had not read it
    assert theirs.take(CELL) is None  # known now
    assert theirs.others() == [CELL]
    assert theirs.is_live(CELL, 1)
    assert theirs.take(CELLS[1]) == 1
    ours.release(CELL)
    theirs.refresh()
    assert theirs.others() == []
    assert not theirs.was_given_up(CELL)
    assert theirs.take(CELL) == 2


def test_a_lease_that_is_renewed_lasts_and_a_silent_one_ends(pair, clock):
    ours, theirs = pair
    ours.take(CELL)
    for _ in range(5):
        pass_seconds(clock, 50, theirs)
        ours.renew()
        theirs.refresh()
    assert theirs.take(CELL) is None
    pass_seconds(clock, 100, theirs)
    assert theirs.take(CELL) is None  # to the last second
    pass_seconds(clock, 10, theirs)
    assert theirs.was_given_up(CELL)
    assert theirs.take(CELL) == 2


def test_who_was_silent_learns_that_a_cell_was_taken_over(pair, clock):
    ours, theirs = pair
    ours.take(CELL)
    ours.take(CELLS[1])
    theirs.refresh()
    pass_seconds(clock, 110, theirs)
    theirs.take(CELL)
    assert not ours.is_lost(CELL)  # it cannot know yet
    ours.renew()
    assert ours.is_lost(CELL)
    assert not ours.is_lost(CELLS[1])
    assert not ours.is_live(CELL, 1)
    ours.release(CELL)  # which gives nothing back that is theirs
    theirs.refresh()
    assert theirs.is_live(CELL, 2)


def test_while_nobody_reaches_the_ledger_nothing_expires(pair, clock):
    ours, theirs = pair
    ours.take(CELL)
    theirs.refresh()
    clock.now += 3600  # the server was away, for both
    theirs.refresh()
    assert theirs.take(CELL) is None
    ours.renew()
    pass_seconds(clock, 90, theirs)
    assert theirs.take(CELL) is None


def test_wall_clocks_decide_nothing(pair, clock, monkeypatch):
    ours, theirs = pair
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 86_400)  # of the machine that takes
    assert ours.take(CELL) == 1
    ours.renew()
    theirs.refresh()
    monkeypatch.setattr(time, "time", lambda: now + 86_400)  # of the one that watches
    theirs.refresh()
    assert theirs.take(CELL) is None
    pass_seconds(clock, 110, theirs)
    assert theirs.take(CELL) == 2


def test_a_sweep_that_ends_gives_everything_back(pair):
    ours, theirs = pair
    with ours.renewed():
        ours.take(CELL)
    theirs.refresh()
    assert theirs.take(CELL) == 2


def test_a_failed_write_of_a_lease_is_no_lease(ledger, pair, monkeypatch):
    from mlflow.exceptions import MlflowException

    ours, theirs = pair
    real = ledger.client.log_param

    def answer_is_lost(*arguments):
        real(*arguments)
        raise MlflowException("no answer")

    monkeypatch.setattr(ledger.client, "log_param", answer_is_lost)
    assert ours.take(CELL) == 1  # what the ledger has decides, heard or not
    assert theirs.take(CELL) is None


def test_a_release_that_the_ledger_did_not_hear_is_told_later(ledger, pair, monkeypatch):
    from mlflow.exceptions import MlflowException

    ours, theirs = pair
    ours.take(CELL)

    def is_away(*_):
        raise MlflowException("no answer")

    with monkeypatch.context() as while_away:
        for call in ("log_param", "get_run"):
            while_away.setattr(ledger.client, call, is_away)
        ours.release(CELL)
    theirs.refresh()
    assert theirs.others() == [CELL]
    ours.renew()
    theirs.refresh()
    assert theirs.others() == []


def test_only_what_no_live_sweep_holds_is_marked_interrupted(ledger, study, pair):
    ours, theirs = pair
    runs = {}
    for cell, sweep in zip(CELLS, (ours, theirs, theirs, None), strict=False):
        tags = {"lease": str(sweep.take(cell)), "holder": sweep.holder} if sweep else {}
        dataset = DatasetInput("d", "0", "/d", {"test": 1})
        runs[cell] = write.start_cell(ledger, study, {"seed": 0}, cell, "5mm", tags, dataset)
    theirs.release(CELLS[2])
    # `ours` has not read yet what the others took: what it does not know is not dead.
    write.mark_interrupted(ledger, study, ours.is_live)
    assert {cell: read_cell(ledger, run).state for cell, run in runs.items()} == {
        CELLS[0]: "running",
        CELLS[1]: "running",
        CELLS[2]: "running",
        CELLS[3]: "failed",  # of a version that knew no leases
    }
    ours.refresh()
    assert write.mark_interrupted(ledger, study, ours.is_live) == [CELLS[2]]


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["mlflow.store.tracking.sqlalchemy_store", "mlflow"])


@pytest.fixture(params=["sqlite", "http"], scope="module")
def shared_uri(request, tmp_path_factory, blank_database):
    directory = tmp_path_factory.mktemp("shared")
    (directory / "mlflow.db").write_bytes(blank_database.read_bytes())
    if request.param == "sqlite":
        yield f"sqlite:///{directory}/mlflow.db"
        return
    with mlflow_server(directory) as address:
        yield address


def test_eight_sweeps_that_begin_at_once_run_every_cell_once(shared_uri, tmp_path):
    at_once = CONTEXT.Barrier(8)
    processes = [
        CONTEXT.Process(target=lease_work.sweep, args=(shared_uri, tmp_path, seed, at_once))
        for seed in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 8
    assert not (tmp_path / "TWICE AT ONCE").exists()
    assert sorted((tmp_path / "runs").read_text().split()) == CELLS
    assert len({(tmp_path / f"study-{seed}").read_text() for seed in range(8)}) == 1


LEASE = 4.0


def test_what_a_killed_sweep_held_is_taken_over_when_its_lease_ends(shared_uri, elsewhere):
    taken = CONTEXT.Event()
    work = (shared_uri, LEASE, "the other", taken)
    owner = CONTEXT.Process(target=lease_work.take_and_hang, args=work)
    owner.start()
    assert taken.wait(60)
    elsewhere("this one")
    ours = lease_work.begin(shared_uri, LEASE)
    with ours.renewed():
        time.sleep(1.5 * LEASE)
        assert ours.take(HUNG) is None  # it lives, and renews
        owner.kill()
        owner.join()
        killed = time.monotonic()
        while ours.take(HUNG) is None:
            assert time.monotonic() - killed < 60
            time.sleep(0.1)
        assert time.monotonic() - killed > 0.6 * LEASE


def test_on_one_machine_a_killed_sweep_is_seen_at_once(ledger, study):
    taken = CONTEXT.Event()
    work = (ledger.tracking_uri, 3600.0, leases._machine(), taken)
    owner = CONTEXT.Process(target=lease_work.take_and_hang, args=work)
    owner.start()
    assert taken.wait(60)
    ours = Leases(ledger, study)
    assert ours.take(HUNG) is None
    owner.kill()
    owner.join()
    assert ours.take(HUNG) == 2
