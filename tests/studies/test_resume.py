"""A cell that was interrupted ends with the bits of one that was not."""

import re
import time
from dataclasses import replace

import pandas as pd
import pytest

from mlp_med.pipelines.datasets import LUNA16
from mlp_med.studies import minimum, resume, worker
from mlp_med.studies.orders import Order
from mlp_med.training.sharpness import Sharpness
from tests.faults import fault
from tests.pipelines.crops import random_examples


class InterruptionError(Exception):
    """Stands for whatever ends a process between two calls into the graph."""


@pytest.fixture
def order(make_tiny_cell, tmp_path, monkeypatch):
    examples = random_examples(LUNA16, 5.0, 48)
    monkeypatch.setattr(worker, "load_splits", lambda *of, **scored: (examples,) * 3)
    monkeypatch.setattr(worker, "configure_threads", lambda number: None)  # TensorFlow has begun

    def make(**changes):
        fields = {"dataset_digest": "", "budget_examples": 96, "num_evaluations": 3}
        cell = make_tiny_cell(**{**fields, "learning_rate": 1e-2, **changes})
        return Order(cell, "run", "", "", time.time(), str(tmp_path / "cell"), 1e-9)

    return make


def train_until(order, examples_seen):
    """The events of a cell that ends as soon as it tells that it has seen so many examples."""
    told = []

    def send(event):
        told.append(event.examples_seen)
        if event.examples_seen >= examples_seen:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        worker.train(order, send)
    return told


def without_times(result):
    """All that must be the same, bit for bit."""
    metrics = {
        name: value
        for name, value in result.metrics.items()
        if not name.startswith(("seconds", "peak", "base", "examples_per", "checkpoints"))
    }
    return result.curve.drop(columns="seconds_elapsed"), result.predictions, metrics


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "batch", "accumulation_steps": 2, "precision": "mixed_bfloat16"},
        {"norm": "none", "stream_tile": 4, "split": 2, "tile_labels": "bag"},
        {"norm": "group", "stop_at_training_loss": 1e-9},
    ],
)
def test_interrupted_equals_uninterrupted(order, changes, monkeypatch):
    # Of the weights at the end, which are compared; a minute of searches would tell no more.
    monkeypatch.setattr(minimum, "measure_sharpness", lambda *of, seed: Sharpness({}, {}, 0.0, 0.0))
    interrupted = order(**changes)
    assert train_until(interrupted, 64) == [0, 32, 64]  # a checkpoint at 32, none yet at 64
    told = []
    resumed = worker.train(interrupted, lambda event: told.append(event.examples_seen))
    assert told == [32, 64, 96]
    assert resumed.tags == {"resumed_at_examples": "32"}
    whole = worker.train(replace(interrupted, checkpoint_dir=""), lambda event: None)
    assert whole.tags == {}
    for ours, expected in zip(without_times(resumed), without_times(whole), strict=True):
        if isinstance(ours, dict):
            assert ours == expected
        else:
            pd.testing.assert_frame_equal(ours, expected, check_exact=True)


@fault(
    "corrupted checkpoint",
    sees="a tag of the run: checkpoint_refused, and why",
    lost="what the cell had trained",
    goes_on="the cell starts anew",
)
def test_a_checkpoint_that_is_not_the_cells_is_refused_and_the_cell_starts_anew(
    order, monkeypatch, tmp_path
):
    interrupted = order()
    train_until(interrupted, 64)
    path, strategy = tmp_path / "cell" / "checkpoint", worker.make_strategy()
    whole = path.read_bytes()

    def refusal(order):
        return resume.open_checkpoints(order, strategy).words().get("checkpoint_refused", "")

    assert refusal(interrupted) == ""
    other = order(learning_rate=2e-2)
    expected = f"of another run: cell {interrupted.cell.hash} there, {other.cell.hash} here"
    assert refusal(other).endswith(expected)
    with monkeypatch.context() as patched:
        patched.setattr(resume, "code_digest", lambda dataset: "another")
        assert re.search("of another run: code .* there, another here", refusal(interrupted))
        machine = {**resume.environment(), "processor": "another", "num_cores": "7"}
        patched.setattr(resume, "environment", lambda: machine)
        assert "processor" in refusal(interrupted)
        assert "num_cores" not in refusal(interrupted)
    path.write_bytes(whole[: len(whole) // 2])
    assert "it is damaged" in refusal(interrupted)
    assert train_until(interrupted, 32) == [0, 32]


@fault(
    "disk full at a checkpoint",
    sees="a tag of the run: checkpoint_failed, and why",
    lost="nothing",
    goes_on="the cell trains on without checkpoints",
)
def test_a_checkpoint_that_cannot_be_written_stops_nothing(order, tmp_path):
    (tmp_path / "cell").write_text("a file where the directory should be")
    result = worker.train(order(), lambda event: None)
    assert "at 64 examples: " in result.tags["checkpoint_failed"]
    assert result.metrics["checkpoints_failed"] == 2
    assert result.metrics["checkpoints_written"] == 0
    whole = worker.train(replace(order(), checkpoint_dir=""), lambda event: None)
    pd.testing.assert_frame_equal(result.predictions, whole.predictions, check_exact=True)
