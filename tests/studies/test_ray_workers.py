"""A cell whose workers Ray places on several nodes: real ones, none of which can hold them all."""

import contextlib
import functools
import os
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from mlp_med.errors import StudyError
from mlp_med.ledger.read import load_predictions
from mlp_med.ledger.store import open_ledger
from mlp_med.studies.launchers import ray_launcher
from mlp_med.studies.launchers.local import launch_local
from mlp_med.studies.launchers.ray_placement import bundle_of, can_hold
from mlp_med.studies.orders import Done, Failed, Job, Order, Progress, Started
from mlp_med.studies.room import Machine, Needs
from mlp_med.studies.run import run_study
from mlp_med.studies.work import PRELOAD
from tests.faults import fault
from tests.studies.launcher_work import do_as_the_seed_says
from tests.studies.noise_study import contents, noise_study
from tests.studies.ray_nodes import needs_ray, ray_cluster

NUM_WORKERS = 2
NEEDS = Needs(threads=NUM_WORKERS, memory_bytes=2_000_000_000, num_workers=NUM_WORKERS)
GB = 10**9


@pytest.fixture(scope="module")
def cluster():
    """Three nodes of one core, joined; the nodes by their addresses."""
    from mlp_med.studies.launchers.ray_cluster import joined

    with ray_cluster(cpus=1) as (head, nodes), joined(head):
        yield {node.address: node for node in nodes}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return noise_study(tmp_path_factory.mktemp("noise"), 1, num_workers=NUM_WORKERS)


@pytest.fixture(scope="module")
def on_this_machine(study, tmp_path_factory):
    """What the cell comes to with as many workers on the loopback."""
    launch = functools.partial(launch_local, machine=Machine("here", 2, 10**11), preload=PRELOAD)
    ledger, record, _ = run(study, tmp_path_factory.mktemp("local"), launch)
    return ledger, record


def run(study, directory: Path, launch, checkpoint_seconds=0.0):
    ledger, ends = open_ledger(f"sqlite:///{directory}/mlflow.db"), Counter()

    def count(cell, event):
        if isinstance(event, Done | Failed):
            ends[getattr(event, "kind", "done")] += 1

    record = run_study(
        study,
        ledger,
        launch=launch,
        needs_of=lambda cells: [NEEDS] * len(cells),
        on_event=count,
        checkpoint_seconds=checkpoint_seconds,
    )
    return ledger, record, ends


def on_ray(watch):
    """The launcher, with somebody who hears every event first."""

    def launch(jobs, work, on_event, *, is_lost):
        def hear(order, event):
            watch(order, event)
            on_event(order, event)

        ray_launcher.RayLauncher(PRELOAD)(jobs, work, hear, is_lost=is_lost)

    return launch


def assert_nothing_is_left(directory: Path):
    from ray.util import placement_group_table

    deadline = time.monotonic() + 60
    while _cells() or {each["state"] for each in placement_group_table().values()} != {"REMOVED"}:
        assert time.monotonic() < deadline, (_cells(), placement_group_table())
        time.sleep(0.1)
    assert list(directory.glob("checkpoints/*")) == []


def _cells():
    """Every such process of the cluster, by its token: an orphan is nobody's child."""
    return [p for p in psutil.process_iter() if _has_our_token(p) and _is_of_a_cell(p)]


def _has_our_token(process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.environ().get("RAY_AUTH_TOKEN") == os.environ["RAY_AUTH_TOKEN"]
    return False


def _is_of_a_cell(process) -> bool:
    """But for a server to fork from, which waits for others: an idle worker of Ray's, or ours."""
    with contextlib.suppress(psutil.Error):
        if "forkserver" not in " ".join(process.cmdline()):
            return False
        parent = process.parent()
        return parent is None or not (
            parent.pid == os.getpid() or parent.name().startswith("ray::")
        )
    return False


@needs_ray
@pytest.mark.slow
def test_workers_on_two_nodes_train_the_bits_of_as_many_on_one_machine(
    cluster, study, on_this_machine, tmp_path
):
    nodes: list[str] = []

    def watch(order, event):
        if isinstance(event, Started):
            nodes.append(event.tags["node"])

    ledger, record, ends = run(study, tmp_path, on_ray(watch))
    assert ends == {"done": 1}
    (named,) = nodes
    assert len(set(named.split(", "))) == NUM_WORKERS
    assert set(named.split(", ")) < set(cluster)
    assert contents(ledger, record) == contents(*on_this_machine)
    assert_nothing_is_left(tmp_path)


def _light_group(make_cell, directory, watch):
    """A chief that only sleeps, with a worker that waits for it; returns how they ended."""
    cell = make_cell(seed=5, num_workers=NUM_WORKERS)
    place = directory / "checkpoints" / "cell"
    order = Order(cell, "", "", str(directory), 0.0, checkpoint_dir=str(place))
    ends = []

    def hear(order, event):
        watch(event)
        if isinstance(event, Done | Failed):
            ends.append(event)

    ray_launcher.RayLauncher([])(
        [Job(NEEDS, lambda: order)], do_as_the_seed_says, hear, is_lost=lambda order: False
    )
    return ends


@needs_ray
@pytest.mark.slow
def test_the_death_of_a_supervisor_that_is_not_the_chiefs_ends_the_cell(
    cluster, make_cell, tmp_path
):
    killed = []

    def watch(event):
        if isinstance(event, Progress) and not killed:  # more may have been on their way
            assert _cells()
            ours = psutil.Process().children(recursive=True)
            (supervisor,) = [p for p in ours if p.name().startswith("ray::worker 1")]
            supervisor.kill()
            killed.append(supervisor)

    (end,) = _light_group(make_cell, tmp_path, watch)
    assert end.kind == "killed"
    assert end.message.startswith("worker 1: its supervisor on node 127.0.0.")
    assert_nothing_is_left(tmp_path)


@needs_ray
@pytest.mark.slow
def test_what_ends_the_sweep_ends_all_workers(cluster, make_cell, tmp_path):
    def stop(event):
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _light_group(make_cell, tmp_path, stop)
    assert_nothing_is_left(tmp_path)


@needs_ray
@pytest.mark.slow
def test_more_workers_than_the_cluster_can_hold_are_refused_in_words(
    cluster, make_cell, monkeypatch
):
    monkeypatch.setattr(ray_launcher, "SECONDS_WITHOUT_NODES", 1.0)
    job = Job(Needs(8, 8 * GB, num_workers=8), lambda: pytest.fail("it was opened"))
    with pytest.raises(StudyError, match="room for 8 workers of a cell at once, each of 1 thread"):
        ray_launcher.RayLauncher(PRELOAD)(
            [job], run_study, lambda *_: None, is_lost=lambda order: False
        )


@pytest.mark.slow
@needs_ray
@fault(
    "SIGKILL of a Ray node",
    sees="a line for each of its cells: lost_node",
    lost="the cells that ran there; of one with several workers the time since its checkpoint",
    goes_on="they are tried again on the other nodes",
)
def test_a_worker_whose_node_is_lost_costs_the_time_since_the_checkpoint_and_no_bit(
    cluster, study, on_this_machine, tmp_path
):
    nodes: list[list[str]] = []
    killed: list[str] = []

    def watch(order, event):
        if isinstance(event, Started):
            nodes.append(event.tags["node"].split(", "))
        has_checkpoint = (Path(order.checkpoint_dir) / "checkpoint").exists()
        if isinstance(event, Progress) and has_checkpoint and not killed:
            victim = next(node for node in nodes[0] if node != "127.0.0.2")  # not the head
            killed.append(victim)
            cluster[victim].kill()

    ledger, record, ends = run(study, tmp_path, on_ray(watch), checkpoint_seconds=1e-9)
    assert ends == {"lost_node": 1, "done": 1}
    assert killed[0] in nodes[0]
    assert killed[0] not in nodes[1]
    assert len(set(nodes[1])) == NUM_WORKERS
    (cell,) = record.cells
    assert int(cell.tags["resumed_at_examples"]) > 0
    (undisturbed,) = on_this_machine[1].cells
    pd_there = load_predictions(ledger, cell.run_id)
    pd_here = load_predictions(on_this_machine[0], undisturbed.run_id)
    assert pd_there.equals(pd_here)
    assert_nothing_is_left(tmp_path)


def node(key: str, cores: int = 4, memory: int = 8 * GB, gpus: int = 0) -> Machine:
    return Machine(key, cores, memory, num_gpus=gpus, key=key)


@pytest.mark.parametrize(
    ("nodes", "needs", "bundle", "is_held"),
    [
        ([node("a")], Needs(4, 4 * GB, 2), {"CPU": 2, "memory": 2 * GB}, True),
        ([node("a")], Needs(8, 4 * GB, 4), {"CPU": 2, "memory": GB}, False),
        ([node("a"), node("b")], Needs(8, 4 * GB, 4), {"CPU": 2, "memory": GB}, True),
        ([node("a")], Needs(2, 18 * GB, 2), {"CPU": 1, "memory": 8 * GB}, False),
        ([node("a"), node("b")], Needs(2, 18 * GB, 2), {"CPU": 1, "memory": 8 * GB}, True),
        ([node("a"), node("b")], Needs(12, 0, 2), {"CPU": 4}, True),
        ([node("a", gpus=2)], Needs(2, 0, 2), {"CPU": 1, "GPU": 1}, True),
        ([node("a", gpus=1), node("b")], Needs(2, 0, 2), {"CPU": 1}, True),
        ([node("a", gpus=1), node("b", gpus=1)], Needs(2, 0, 2), {"CPU": 1, "GPU": 1}, True),
        ([node("a", gpus=4, cores=1), node("b")], Needs(4, 0, 4), {"CPU": 1, "GPU": 1}, False),
    ],
)
def test_what_is_asked_of_ray_for_each_worker(nodes, needs, bundle, is_held):
    assert bundle_of(needs, nodes) == bundle
    assert can_hold(nodes, needs) is is_held
