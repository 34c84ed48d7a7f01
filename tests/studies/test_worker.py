"""A cell, trained in this process on crops of noise: what reaches the training loop."""

import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mlp_med.errors import DatasetError, StudyError
from mlp_med.pipelines.datasets import LUNA16
from mlp_med.studies import minimum, worker
from mlp_med.studies.orders import Order
from mlp_med.training import sharpness
from mlp_med.training.sharpness import Sharpness
from tests.pipelines.crops import random_examples

NUM_CASES = 48  # of 16 patients


@pytest.fixture
def trained(make_tiny_cell, monkeypatch):
    """Trains a cell; returns the training set, its batches' size, and the predictions."""
    examples = random_examples(LUNA16, 5.0, NUM_CASES)
    lesions = np.zeros((NUM_CASES, 2, 4), np.float32)
    lesions[examples.labels == 1, 0] = (10, 10, 10, 8)  # each in the last of eight tiles
    lesions[5, 1] = (-10, -10, -10, 8)
    examples = replace(examples, lesions_mm=lesions)
    monkeypatch.setattr(worker, "load_splits", lambda *of, **scored: (examples,) * 3)
    monkeypatch.setattr(worker, "configure_threads", lambda number: None)  # TensorFlow has begun
    make_batches = worker.distributed_training_batches

    def train(**changes):
        seen = []

        def spy(strategy, examples, **options):
            seen.append((examples, options["global_batch_size"]))
            return make_batches(strategy, examples, **options)

        monkeypatch.setattr(worker, "distributed_training_batches", spy)
        cell = make_tiny_cell(
            dataset_digest="", budget_examples=16, scored_split="validation", **changes
        )
        result = worker.train(Order(cell, "run", "", "", time.time()), lambda event: None)
        assert len(result.predictions) == NUM_CASES
        train.metrics = result.metrics
        return *seen[0], result.predictions

    train.examples = examples
    return train


class ReachedTheLoopError(Exception):
    """Ends a cell where its training would begin."""


@pytest.mark.usefixtures("trained")
def test_a_fraction_of_the_training_set_is_what_a_cell_trains_on(make_tiny_cell, monkeypatch):
    def training_set(**changes):
        seen = []

        def stop(strategy, examples, **options):
            seen.append(examples)
            raise ReachedTheLoopError

        monkeypatch.setattr(worker, "distributed_training_batches", stop)
        cell = make_tiny_cell(dataset_digest="", scored_split="validation", **changes)
        with pytest.raises(ReachedTheLoopError):
            worker.train(Order(cell, "run", "", "", time.time()), lambda event: None)
        return seen[0]

    assert len(training_set()) == NUM_CASES
    drawn = [training_set(training_fraction=0.25, seed=seed) for seed in (0, 1)]
    assert [len(set(part.patients)) for part in drawn] == [4, 4]
    assert set(drawn[0].patients) != set(drawn[1].patients)
    again = training_set(training_fraction=0.25, seed=0, learning_rate=1e-2)
    assert again.ids.tolist() == drawn[0].ids.tolist()  # of the seed, whatever the arm


def test_a_case_of_tiles_has_one_score_and_counts_once(trained):
    *_, whole = trained(norm="group", learning_rate=1e-2)
    for tile_labels in ("image", "bag", "lesion"):
        split = {"split": 2, "tile_labels": tile_labels, "norm": "group", "learning_rate": 1e-2}
        _, computed_at_once, ours = trained(**split)
        assert computed_at_once == 8  # images, whatever they are split into
        assert ours["id"].is_unique
        assert not np.allclose(ours["score"], whole["score"], atol=1e-3)
        # Someone has to label every image, and each lesion where tiles are labelled by them.
        drawn = NUM_CASES / 2 + 1 if tile_labels == "lesion" else 0
        assert trained.metrics["num_image_labels"] == NUM_CASES
        assert trained.metrics["num_drawn_lesions"] == drawn


def test_a_fraction_needs_the_labels_of_its_own_images_and_lesions(trained):
    part, *_ = trained(split=2, norm="group", tile_labels="lesion", training_fraction=0.25)
    assert trained.metrics["num_image_labels"] == len(part) < NUM_CASES
    assert trained.metrics["num_drawn_lesions"] == (part.lesions_mm[..., 3] > 0).sum()


def test_a_dataset_without_lesions_is_refused_before_anything_trains(
    trained, make_tiny_cell, monkeypatch
):
    without = replace(trained.examples, lesions_mm=None)
    monkeypatch.setattr(worker, "load_splits", lambda *of, **scored: (without,) * 3)
    cell = make_tiny_cell(dataset_digest="", split=2, tile_labels="lesion", norm="group")
    with pytest.raises(DatasetError, match="luna16 keeps none; take luna16_fields"):
        worker.train(Order(cell, "run", "", "", time.time()), lambda event: None)


@pytest.mark.parametrize(
    ("norm", "ways"),
    [
        ("group", [({"accumulation_steps": 4}, 2), ({"recompute": True}, 8)]),
        ("none", [({"stream_tile": 4}, 8)]),
    ],
)
def test_less_memory_is_the_same_training(trained, norm, ways):
    *_, expected = trained(norm=norm, learning_rate=1e-2)
    assert "final_training_loss" not in trained.metrics  # of cells that stop at one
    assert expected["score"].std() > 1e-4
    for changes, batch_size in ways:
        _, computed_at_once, ours = trained(norm=norm, learning_rate=1e-2, **changes)
        assert computed_at_once == batch_size
        np.testing.assert_allclose(ours["score"], expected["score"], atol=1e-5)


def test_a_cell_that_stops_at_a_training_loss_is_measured_there(make_tiny_cell, monkeypatch):
    """The loss that it stopped at, the sharpness there, and the noise scale on the way."""
    examples = random_examples(LUNA16, 5.0, NUM_CASES)
    monkeypatch.setattr(worker, "load_splits", lambda *of, **scored: (examples,) * 3)
    monkeypatch.setattr(worker, "configure_threads", lambda number: None)
    monkeypatch.setattr(sharpness, "NUM_ITERATIONS", 2)  # how far it finds has its own tests

    def train(loss, **changes):
        cell = make_tiny_cell(
            dataset_digest="",
            budget_examples=NUM_CASES * 8,
            num_evaluations=8,
            augment=False,
            learning_rate=1e-2,
            norm="group",
            stop_at_training_loss=loss,
            **changes,
        )
        return worker.train(Order(cell, "run", "", "", time.time()), lambda event: None)

    unmeasured = Sharpness({}, {}, 0.0, 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(minimum, "measure_sharpness", lambda *of, seed: unmeasured)
        whole = train(1e-9)
    losses = whole.curve["whole_training_loss"].dropna().tolist()
    assert whole.metrics["reached_training_loss"] == 0
    assert len(losses) == 8
    # Of the last weights: the test predictions are on the very split that the loss is of.
    label, score = whole.predictions["label"], whole.predictions["score"]
    loss = -np.log(np.where(label == 1, score, 1 - score)).mean()
    assert loss == pytest.approx(losses[-1], rel=1e-4)
    target = sorted(losses)[4]
    first = next(number for number, loss in enumerate(losses, 1) if loss <= target)
    stopped = train(target)
    assert stopped.metrics["reached_training_loss"] == 1
    assert stopped.metrics["final_training_loss"] == pytest.approx(losses[first - 1], rel=1e-5)
    assert stopped.curve["whole_training_loss"].notna().sum() == first < 8
    phi = stopped.metrics
    assert phi["sharpness_full_0.001"] > phi["sharpness_full_0.0005"] > 0
    assert phi["sharpness_subspace_0.001"] > 0
    assert phi["sharpness_adaptive"] > 0
    noise = stopped.curve.dropna(subset="gradient_noise")
    if noise["gradient_signal"].sum() > 0:
        expected = noise["gradient_noise"].sum() / noise["gradient_signal"].sum()
        assert phi["critical_batch"] == pytest.approx(expected)


def test_a_cell_of_three_classes_scores_each_of_them(make_tiny_cell, monkeypatch):
    examples = random_examples(LUNA16, 5.0, NUM_CASES)
    examples = replace(examples, labels=(np.arange(NUM_CASES) % 3).astype(np.int8))
    three = replace(LUNA16, class_names=("none", "benign", "malignant"))
    monkeypatch.setattr(worker, "load_splits", lambda *of, **scored: (examples,) * 3)
    monkeypatch.setattr(worker, "describe", lambda *of: three)
    monkeypatch.setattr(worker, "configure_threads", lambda number: None)
    cell = make_tiny_cell(dataset_digest="", budget_examples=16)
    result = worker.train(Order(cell, "run", "", "", time.time()), lambda event: None)
    scores = result.predictions[["score_0", "score_1", "score_2"]]
    assert "score" not in result.predictions
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert result.predictions["label"].tolist() == examples.labels.tolist()
    expected = roc_auc_score(examples.labels, scores, multi_class="ovr", average="macro")
    assert result.metrics["test_auc"] == pytest.approx(expected, abs=1e-6)
    tiles = Order(make_tiny_cell(dataset_digest="", split=2), "run", "", "", time.time())
    with pytest.raises(StudyError, match=r"pooled to one score .* 3 classes"):
        worker.train(tiles, lambda event: None)
