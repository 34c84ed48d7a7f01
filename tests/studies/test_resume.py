"""A cell that was interrupted ends with the bits of one that was not."""

import re
import time
from dataclasses import replace

import pandas as pd
import pytest

from mlp_med.pipelines.datasets import LUNA16
from mlp_med.studies import resume, worker
from mlp_med.studies.launcher import Order
from tests.pipelines.crops import random_examples


class InterruptionError(Exception):
    """Stands for whatever ends a process between two calls into the graph."""


@pytest.fixture
def order(make_cell, tmp_path, monkeypatch):
    examples = random_examples(LUNA16, 5.0, 48)
    monkeypatch.setattr(worker, "load_splits", lambda *of, **scored: (examples,) * 3)
    monkeypatch.setattr(worker, "configure_threads", lambda number: None)  # TensorFlow has begun

    def make(**changes):
        fields = {"dataset_digest": "", "budget_examples": 96, "num_evaluations": 3}
        cell = make_cell(**{**fields, "learning_rate": 1e-2, **changes})
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
        {"norm": "none", "stream_tile": 4},
        {"norm": "group", "split": 2, "tile_labels": "bag"},
        {"norm": "group", "stop_at_training_loss": 1e-9},
    ],
)
def test_interrupted_equals_uninterrupted(order, changes):
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


@pytest.mark.parametrize("damage", ["one byte", "half", "another cell", "other code"])
def test_a_checkpoint_that_is_not_the_cells_is_refused_and_the_cell_starts_anew(
    order, damage, monkeypatch, tmp_path
):
    interrupted = order()
    train_until(interrupted, 64)
    path = tmp_path / "cell" / "checkpoint"
    content = bytearray(path.read_bytes())
    if damage == "one byte":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if damage == "half" else content)
    if damage == "another cell":
        interrupted = order(learning_rate=2e-2)
    if damage == "other code":
        monkeypatch.setattr(resume, "code_digest", lambda dataset: "another")
    told = train_until(interrupted, 32)
    assert told == [0, 32]
    strategy = worker.make_strategy()
    refusal = resume.open_checkpoints(interrupted, strategy).words()["checkpoint_refused"]
    expected = {
        "another cell": f"of another run: cell .* there, {interrupted.cell.hash} here",
        "other code": "of another run: code .* there, another here",
    }
    assert re.search(expected.get(damage, "it is damaged"), refusal)


def test_a_checkpoint_that_cannot_be_written_stops_nothing(order, tmp_path):
    (tmp_path / "cell").write_text("a file where the directory should be")
    result = worker.train(order(), lambda event: None)
    assert "at 64 examples: " in result.tags["checkpoint_failed"]
    assert result.metrics["checkpoints_failed"] == 2
    assert result.metrics["checkpoints_written"] == 0
    whole = worker.train(replace(order(), checkpoint_dir=""), lambda event: None)
    pd.testing.assert_frame_equal(result.predictions, whole.predictions, check_exact=True)
