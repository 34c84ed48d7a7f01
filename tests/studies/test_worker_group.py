"""A cell that spans workers: real processes on the loopback, killed and stopped on purpose."""

import contextlib
import functools
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

import tfds_builders
from mlp_med.errors import TrainingError
from mlp_med.studies import cell_process
from mlp_med.studies.cluster import cluster_from_environment, free_ports
from mlp_med.studies.launchers.local import launch_local
from mlp_med.studies.mailbox import mailbox_of
from mlp_med.studies.orders import Done, Failed, Job, Order
from mlp_med.studies.room import Machine, Needs
from mlp_med.studies.worker_group import Patience, in_workers
from tests.faults import fault
from tests.studies.group_work import note_and_train, train_and_keep

RESOLUTION = 7.76
BUDGET = 2048
PATIENT = Patience(start_seconds=240, max_restarts=1)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    """Sixty patches of noise in Kaggle's layout, every other one with a darker centre."""
    root = tmp_path_factory.mktemp("patches")
    rng = np.random.default_rng(0)
    (root / "train").mkdir()
    lines = ["id,label"]
    for number in range(60):
        pixels = rng.normal((220, 160, 200), 25, (96, 96, 3))
        pixels[32:64, 32:64] -= 8 * (number % 2)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        image.save(root / "train" / f"{number:040x}.tif")
        lines.append(f"{number:040x},{number % 2}")
    (root / "train_labels.csv").write_text("\n".join(lines) + "\n")
    built = tmp_path_factory.mktemp("built")
    tfds_builders.DATASETS["metastasis_patches"].build(
        root, built, resolutions=[RESOLUTION], num_workers=1
    )
    return built


class Group:
    """Trains a cell in this process as its supervisor, and knows the workers' processes."""

    def __init__(self, order, monkeypatch, patience=PATIENT):
        self.order, self.patience, self.jobs = order, patience, []
        self.directory = Path(order.checkpoint_dir)
        start = cell_process.start

        def start_and_remember(*arguments):
            self.jobs.append(start(*arguments))
            self.started(len(self.jobs) - 1)
            return self.jobs[-1]

        monkeypatch.setattr(cell_process, "start", start_and_remember)

    def started(self, number):
        """Told of each worker's process."""

    def seen(self, examples_seen):
        """Told of the chief's progress."""

    def train(self):
        """Returns curves without times, and predictions."""
        work = in_workers(
            functools.partial(train_and_keep, directory=self.directory), self.patience
        )
        work(self.order, lambda event: self.seen(event.examples_seen))
        return kept_in(self.directory)

    def wait_for_a_checkpoint(self):
        """The chief goes on meanwhile, and writes one every few steps."""
        deadline = time.monotonic() + 60
        while not (self.directory / "checkpoint").exists():
            assert time.monotonic() < deadline, "no checkpoint was written"
            time.sleep(0.01)

    def pids(self):
        return [job.process.pid for job in self.jobs]


def kept_in(directory):
    curve = pd.read_parquet(directory / "curve.parquet").drop(columns="seconds_elapsed")
    return curve, pd.read_parquet(directory / "predictions.parquet")


def assert_same_bits(ours, expected):
    for table, other in zip(ours, expected, strict=True):
        pd.testing.assert_frame_equal(table, other, check_exact=True)


@pytest.fixture
def order(make_cell, data_dir, tmp_path):
    builder = tfds_builders.open_config("metastasis_patches", RESOLUTION, data_dir)

    def make(name, **changes):
        fields = {
            "dataset": "metastasis_patches",
            "dataset_digest": str(builder.info.metadata["examples_digest"]),
            "resolution": RESOLUTION,
            "grid": RESOLUTION,
            "budget_examples": BUDGET,
            "num_evaluations": 2,
            "num_workers": 2,
        }
        (tmp_path / name).mkdir()
        place = str(tmp_path / name)
        cell = make_cell(**{**fields, **changes})
        return Order(cell, "run", "", str(data_dir), time.time(), place, 1e-9)

    return make


@pytest.fixture(scope="module")
def undisturbed():
    """What a group leaves that nothing happened to; made by the first test that asks."""
    return {}


def of_a_group_left_alone(undisturbed, order, monkeypatch):
    if not undisturbed:
        undisturbed["kept"] = Group(order("undisturbed"), monkeypatch).train()
    return undisturbed["kept"]


@pytest.mark.slow
def test_workers_train_what_one_process_trains_to_rounding(
    order, monkeypatch, undisturbed, tmp_path
):
    two, _ = of_a_group_left_alone(undisturbed, order, monkeypatch)
    alone, ends = order("alone", num_workers=1), []
    launch_local(
        [Job(Needs(1), lambda: alone)],
        in_workers(functools.partial(train_and_keep, directory=Path(alone.checkpoint_dir))),
        lambda order, event: ends.append(event),
        machine=Machine("here", cores=1, memory_bytes=0),
        preload=[],
    )
    assert ends[-1] == Done()
    one, _ = kept_in(Path(alone.checkpoint_dir))
    assert one["examples_seen"].tolist() == two["examples_seen"].tolist()
    losses = [curve["train_loss"].to_numpy() for curve in (one, two)]
    # Rounding grows with every step, so that it is the first that tell.
    np.testing.assert_allclose(losses[1][:3], losses[0][:3], rtol=1e-3)
    assert abs(losses[0][7] / losses[0][0] - 1) > 0.02
    assert not np.array_equal(*losses)  # which is why num_workers is a field of the cell


@fault(
    "SIGKILL of a worker",
    sees="a metric of the run: worker_restarts",
    lost="the time since the last checkpoint",
    goes_on="all workers of the cell start again from it, with the same bits",
)
def test_a_killed_worker_costs_the_time_since_the_checkpoint_and_no_bit(
    order, monkeypatch, undisturbed
):
    group, told = Group(order("disturbed"), monkeypatch), []

    def kill_the_second(examples_seen):
        told.append((len(group.jobs), examples_seen))
        if examples_seen and len(group.jobs) == 2:
            group.wait_for_a_checkpoint()
            group.jobs[1].process.kill()

    group.seen = kill_the_second
    disturbed = group.train()
    assert len(group.jobs) == 4
    assert next(seen for number, seen in told if number == 4) >= 64
    expected = of_a_group_left_alone(undisturbed, order, monkeypatch)
    assert_same_bits(disturbed, expected)


FOLLOWER = """
import sys
from pathlib import Path
from mlp_med.studies.cluster import cluster_from_environment
from mlp_med.studies.follower import follow
from mlp_med.studies.mailbox import mailbox_of
if __name__ == "__main__":
    cluster = cluster_from_environment()
    follow(cluster, mailbox_of(Path(sys.argv[1]), cluster), print)
"""


@pytest.mark.slow
def test_a_worker_elsewhere_follows_the_chief_and_comes_back(
    order, monkeypatch, undisturbed, tmp_path
):
    """As on two machines: two commands, each with TF_CONFIG, that share a directory alone."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    configs = [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
        for index in range(2)
    ]
    (tmp_path / "follower.py").write_text(FOLLOWER)
    follower = psutil.Popen(
        [sys.executable, str(tmp_path / "follower.py"), str(tmp_path)],
        env={**os.environ, "TF_CONFIG": configs[1], "PYTHONPATH": str(Path.cwd())},
    )
    try:
        monkeypatch.setenv("TF_CONFIG", configs[0])
        group, killed = Group(order("clustered"), monkeypatch), []

        def kill_the_other(examples_seen):
            if examples_seen and not killed:
                group.wait_for_a_checkpoint()
                killed.extend(workers_of(follower))
                killed[0].kill()

        group.seen = kill_the_other
        clustered = group.train()
        assert len(group.jobs) == 2  # the chief, and the chief anew
        mailbox_of(tmp_path, cluster_from_environment()).close()
        assert follower.wait(60) == 0
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended, as it should
            for process in [*follower.children(recursive=True), follower]:
                process.kill()
    monkeypatch.delenv("TF_CONFIG")
    expected = of_a_group_left_alone(undisturbed, order, monkeypatch)
    assert_same_bits(clustered, expected)


def workers_of(process):
    """Grandchildren: between them stands the server that they are forked from."""
    return [worker for server in process.children() for worker in server.children()]


def test_a_peer_that_never_comes_is_a_typed_failure_in_time(order, monkeypatch):
    group = Group(order("stopped"), monkeypatch, Patience(start_seconds=8, max_restarts=1))

    def stop_the_second(number):
        if number == 1:
            os.kill(group.jobs[1].process.pid, signal.SIGSTOP)

    group.started = stop_the_second
    began = time.monotonic()
    with pytest.raises(TrainingError, match="expected 2 workers to meet within 8 s") as caught:
        group.train()
    assert caught.value.kind == "lost_workers"
    assert time.monotonic() - began < 40
    assert not any(psutil.pid_exists(pid) for pid in group.pids())


def test_a_worker_that_is_lost_again_and_again_is_a_typed_failure(order, monkeypatch):
    group = Group(order("lost"), monkeypatch)
    group.started = lambda number: group.jobs[number].process.kill() if number % 2 else None
    with pytest.raises(TrainingError, match=r"lost a worker 2 times, at last worker 1.*SIGKILL"):
        group.train()
    assert len(group.jobs) == 4
    assert not any(psutil.pid_exists(pid) for pid in group.pids())


def test_a_failure_that_would_come_again_is_told_at_once(order, monkeypatch):
    group = Group(order("planned on other data", dataset_digest="another"), monkeypatch)
    with pytest.raises(TrainingError, match=r"worker \d: expected metastasis_patches") as caught:
        group.train()
    assert caught.value.kind == "DatasetError"
    assert len(group.jobs) == 2


@pytest.mark.slow
def test_no_worker_outlives_its_supervisor(order, tmp_path):
    """Even if that is ended by SIGKILL, while they wait for one another."""
    note, workers, ends = tmp_path / "pid", [], []

    def kill_the_supervisor(order, event):
        if isinstance(event, Failed):
            ends.append(event.kind)
        elif not workers:
            fork_server = psutil.Process(int(note.read_text())).parent()
            workers.extend(fork_server.children())
            fork_server.parent().kill()

    launch_local(
        [Job(Needs(1), lambda: order("orphans", budget_examples=BUDGET * 1000))],
        in_workers(functools.partial(note_and_train, path=note)),
        kill_the_supervisor,
        machine=Machine("here", cores=1, memory_bytes=0),
        preload=[],
    )
    assert ends == ["killed"]
    assert len(workers) >= 2
    assert psutil.wait_procs(workers, timeout=30)[1] == []
