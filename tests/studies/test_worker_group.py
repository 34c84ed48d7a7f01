"""A cell that spans workers: real processes on the loopback, killed and stopped on purpose."""

import functools
import itertools
import os
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

import tfds_builders
from mlp_med.errors import TrainingError
from mlp_med.studies import launcher
from mlp_med.studies.launcher import Failed, Order, launch_local
from mlp_med.studies.worker import train_and_save
from mlp_med.studies.worker_group import Patience, in_workers
from tests.studies.group_work import note_and_train

RESOLUTION = 7.76
BUDGET = 4096
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
        self.path = Path(order.checkpoint_dir).with_suffix(".parquet")
        start = launcher._start

        def start_and_remember(*arguments):
            self.jobs.append(start(*arguments))
            self.started(len(self.jobs) - 1)
            return self.jobs[-1]

        monkeypatch.setattr(launcher, "_start", start_and_remember)

    def started(self, number):
        """Told of each worker's process."""

    def seen(self, examples_seen):
        """Told of the chief's progress."""

    def train(self):
        work = in_workers(functools.partial(train_and_save, path=self.path), self.patience)
        work(self.order, lambda event: self.seen(event.examples_seen))
        return pd.read_parquet(self.path)

    def pids(self):
        return [job.process.pid for job in self.jobs]


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
            "num_evaluations": 4,
            "num_workers": 2,
        }
        place = str(tmp_path / name)
        cell = make_cell(**{**fields, **changes})
        return Order(cell, "run", "", str(data_dir), time.time(), place, 1e-9)

    return make


def test_a_killed_worker_costs_the_time_since_the_checkpoint_and_no_bit(order, monkeypatch):
    undisturbed = Group(order("undisturbed"), monkeypatch).train()
    group, progress = Group(order("disturbed"), monkeypatch), []

    def kill_the_second(examples_seen):
        progress.append(examples_seen)
        if examples_seen >= BUDGET // 2 and len(group.jobs) == 2:
            group.jobs[1].process.kill()

    group.seen = kill_the_second
    disturbed = group.train()
    assert len(group.jobs) == 4
    went_on = next(now for last, now in itertools.pairwise(progress) if now < last)
    assert went_on > 0  # from a checkpoint, not from the beginning
    pd.testing.assert_frame_equal(disturbed, undisturbed, check_exact=True)
    alone = Group(order("alone", num_workers=1), monkeypatch)
    one = alone.train()
    assert alone.jobs == []
    difference = np.abs(one["score"] - undisturbed["score"]).max()
    assert difference < 1e-3
    assert one["score"].std() > 10 * difference


def test_a_peer_that_never_comes_is_a_typed_failure_in_time(order, monkeypatch):
    group = Group(order("stopped"), monkeypatch, Patience(start_seconds=20, max_restarts=1))

    def stop_the_second(number):
        if number == 1:
            os.kill(group.jobs[1].process.pid, signal.SIGSTOP)

    group.started = stop_the_second
    began = time.monotonic()
    with pytest.raises(TrainingError, match="expected 2 workers to meet within 20 s") as caught:
        group.train()
    assert caught.value.kind == "lost_workers"
    assert time.monotonic() - began < 60
    assert not any(psutil.pid_exists(pid) for pid in group.pids())


def test_a_worker_that_is_lost_again_and_again_is_a_typed_failure(order, monkeypatch):
    group = Group(order("lost"), monkeypatch)
    group.started = lambda number: group.jobs[number].process.kill() if number % 2 else None
    with pytest.raises(TrainingError, match=r"lost a worker 2 times, at last worker 1.*SIGKILL"):
        group.train()
    assert len(group.jobs) == 4
    assert not any(psutil.pid_exists(pid) for pid in group.pids())


def test_a_failure_that_would_come_again_is_told_at_once(order, monkeypatch):
    group = Group(order("nan", learning_rate=1e30, norm="none"), monkeypatch)
    with pytest.raises(TrainingError) as caught:
        group.train()
    assert caught.value.kind == "non_finite_loss"
    assert len(group.jobs) == 2


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
        [lambda: order("orphans", budget_examples=BUDGET * 1000)],
        in_workers(functools.partial(note_and_train, path=note)),
        kill_the_supervisor,
        num_concurrent=1,
        preload=[],
    )
    assert ends == ["killed"]
    assert len(workers) >= 2
    assert psutil.wait_procs(workers, timeout=30)[1] == []
