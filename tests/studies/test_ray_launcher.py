"""A real Ray cluster of three nodes: what runs there is what runs here, and a node is lost."""

import functools
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from mlp_med.ledger.store import open_ledger
from mlp_med.studies.launchers.local import launch_local
from mlp_med.studies.orders import Done, Failed, Job, Order, Progress, Started
from mlp_med.studies.room import Machine, Needs
from mlp_med.studies.run import run_study
from mlp_med.studies.work import PRELOAD
from tests.faults import fault
from tests.studies.launcher_work import do_as_the_seed_says
from tests.studies.noise_study import contents, noise_study
from tests.studies.ray_nodes import needs_ray, ray_cluster

pytestmark = needs_ray

NUM_CELLS = 6
NEEDS = Needs(threads=1, memory_bytes=1_000_000_000)


@pytest.fixture(scope="module")
def head_and_nodes():
    with ray_cluster() as started:
        yield started


@pytest.fixture(scope="module")
def cluster(head_and_nodes):
    """The cluster, joined; the nodes by their addresses."""
    from mlp_med.studies.launchers.ray_cluster import joined

    head, nodes = head_and_nodes
    with joined(head):
        yield {node.address: node for node in nodes}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return noise_study(tmp_path_factory.mktemp("noise"), NUM_CELLS)


def run(study, directory: Path, launch, on_event=lambda cell, event: None):
    ledger = open_ledger(f"sqlite:///{directory}/mlflow.db")
    record = run_study(
        study,
        ledger,
        launch=launch,
        needs_of=lambda cells: [NEEDS] * len(cells),
        on_event=on_event,
    )
    return ledger, record


def ray_launch(jobs, work, on_event, is_lost=lambda order: False):
    from mlp_med.studies.launchers.ray_launcher import RayLauncher

    RayLauncher(PRELOAD)(jobs, work, on_event, is_lost=is_lost)


def fates(launch, make_cell, directory, seeds):
    """How cells that do as their seeds say are told to have ended, by seed."""
    directory.mkdir()
    ends: dict[int, list] = {seed: [] for seed in seeds}

    def note(order, event):
        if isinstance(event, Done | Failed):
            ends[order.cell.seed].append(event)

    jobs = [
        Job(NEEDS, functools.partial(Order, make_cell(seed=seed), str(seed), "", str(directory), 0))
        for seed in seeds
    ]
    launch(jobs, do_as_the_seed_says, note)
    return ends


@pytest.mark.slow
def test_with_another_token_nobody_joins(head_and_nodes):
    head, _ = head_and_nodes
    script = f"""
from mlp_med.errors import StudyError
from mlp_med.studies.launchers.ray_cluster import joined
try:
    with joined({head!r}):
        print("joined")
except StudyError as error:
    print("refused:", error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"RAY_AUTH_TOKEN": "f" * 64},
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.stdout.startswith("refused: no Ray cluster can be joined at"), done
    assert "with the same token" in done.stdout
    assert os.environ["RAY_AUTH_TOKEN"] not in done.stdout


def told(ends):
    """But for the peak of memory, which is sampled."""
    return [(type(end), getattr(end, "kind", ""), getattr(end, "message", "")) for end in ends]


def test_each_way_to_end_is_told_as_on_this_machine_and_nothing_is_tried_again(
    cluster, make_cell, tmp_path
):
    local = functools.partial(launch_local, machine=Machine("here", 2, 10**11), preload=[])
    here = fates(local, make_cell, tmp_path / "local", range(5))
    there = fates(ray_launch, make_cell, tmp_path / "ray", range(5))
    assert [len(ends) for ends in there.values()] == [1] * 5
    for seed in (0, 1):
        assert told(there[seed]) == told(here[seed])
    assert [there[seed][0].kind for seed in (1, 2, 3, 4)] == [
        "non_finite_loss",
        "killed",  # the cell, as by the kernel for want of memory
        "ValueError",
        "died",
    ]
    assert "SIGKILL" in there[2][0].message
    assert "launcher_work.py" in there[3][0].message


def test_a_cell_that_no_node_can_hold_is_infeasible_and_the_others_run(
    cluster, make_cell, tmp_path
):
    def launch(jobs, work, on_event):
        huge = Job(Needs(1, 10**15), jobs[0].open)
        ray_launch([huge, *jobs[1:]], work, on_event)

    ends = fates(launch, make_cell, tmp_path / "ray", [1, 0])
    assert [end.kind for end in ends[1]] == ["infeasible"]
    assert "needs 1.00 PB by the memory plan, and the largest machine has" in ends[1][0].message
    assert ends[0] == [Done()]


def test_a_cell_dies_with_its_supervisor_whose_death_is_no_lost_node(cluster, make_cell, tmp_path):
    cells: list[psutil.Process] = []

    def launch(jobs, work, on_event):
        def kill_the_supervisor(order, event):
            if isinstance(event, Progress):
                pid = int((tmp_path / "ray/5.pid").read_text().split("\n")[0])
                cells.append(psutil.Process(pid))
                supervisor = next(p for p in cells[0].parents() if p.name().startswith("ray::"))
                supervisor.kill()
            on_event(order, event)

        ray_launch(jobs, work, kill_the_supervisor)

    ((end,),) = fates(launch, make_cell, tmp_path / "ray", [5]).values()
    assert end.kind == "killed"
    assert "supervisor" in end.message
    assert not psutil.wait_procs(cells, timeout=20)[1]


def test_what_ends_the_sweep_ends_the_cells(cluster, make_cell, tmp_path):
    def stop(order, event):
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fates(lambda jobs, work, _: ray_launch(jobs, work, stop), make_cell, tmp_path / "ray", [5])
    pid = int((tmp_path / "ray/5.pid").read_text().split("\n")[0])
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@fault(
    "SIGKILL of a Ray node",
    sees="a line for each of its cells: lost_node",
    lost="the cells that ran there",
    goes_on="they are tried again on the other nodes",
)
def test_with_a_node_lost_in_the_middle_the_ledger_is_that_of_one_machine(cluster, study, tmp_path):
    from mlp_med.studies.launchers.ray_cluster import require_usable_nodes

    nodes_of: dict[str, str] = {}
    ends = Counter()

    def launch(jobs, work, on_event, *, is_lost):
        def watch(order, event):
            if isinstance(event, Started):
                nodes_of[order.run_id] = event.tags["node"]
            victim = cluster["127.0.0.4"]
            is_there = nodes_of.get(order.run_id) == victim.address
            if isinstance(event, Progress) and is_there and victim.process.poll() is None:
                victim.kill()
            on_event(order, event)

        ray_launch(jobs, work, watch, is_lost)

    def count(cell, event):
        if isinstance(event, Done | Failed):
            ends[getattr(event, "kind", "done")] += 1

    (tmp_path / "ray").mkdir()
    ledger = open_ledger(f"sqlite:///{tmp_path}/ray/mlflow.db")
    assert len(require_usable_nodes(study.dataset_info, ledger)) == 3
    there = run(study, tmp_path / "ray", launch, count)
    assert ends == {"done": NUM_CELLS, "lost_node": 1}
    assert set(nodes_of.values()) == set(cluster)
    runs = there[0].client.search_runs(
        [there[0].client.get_run(there[1].run_id).info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{there[1].run_id}'",
    )
    states = Counter(each.data.tags["mlp_med.state"] for each in runs)
    assert states == {"done": NUM_CELLS, "failed": 1}  # nothing twice; what was lost is told

    local = functools.partial(launch_local, machine=Machine("here", 2, 10**11), preload=PRELOAD)
    here = run(study, tmp_path / "local", local)
    assert contents(*there) == contents(*here)
    assert len(contents(*there)) == NUM_CELLS
