"""A cell, trained in this process on crops of noise: what reaches the training loop."""

import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mlp_med.pipelines.datasets import LUNA16
from mlp_med.studies import worker
from mlp_med.studies.launcher import Order
from tests.pipelines.crops import random_examples

NUM_CASES = 48  # of 16 patients


@pytest.fixture
def trained(make_cell, monkeypatch):
    """Trains a cell; returns the training set, its batches' size, and the predictions."""
    examples = random_examples(LUNA16, 5.0, NUM_CASES)
    monkeypatch.setattr(worker, "load_splits", lambda *of, **scored: (examples,) * 3)
    monkeypatch.setattr(worker, "configure_threads", lambda number: None)  # TensorFlow has begun
    make_batches = worker.distributed_training_batches

    def train(**changes):
        seen = []

        def spy(strategy, examples, **options):
            seen.append((examples, options["global_batch_size"]))
            return make_batches(strategy, examples, **options)

        monkeypatch.setattr(worker, "distributed_training_batches", spy)
        cell = make_cell(
            dataset_digest="", budget_examples=16, scored_split="validation", **changes
        )
        result = worker.train(Order(cell, "run", "", "", time.time()), lambda event: None)
        assert len(result.predictions) == NUM_CASES
        return *seen[0], result.predictions

    return train


def test_a_fraction_of_the_training_set_is_what_a_cell_trains_on(trained):
    whole, *_ = trained()
    assert len(whole) == NUM_CASES
    drawn = [trained(training_fraction=0.25, seed=seed)[0] for seed in (0, 1)]
    assert [len(set(part.patients)) for part in drawn] == [4, 4]
    assert set(drawn[0].patients) != set(drawn[1].patients)
    again, *_ = trained(training_fraction=0.25, seed=0, learning_rate=1e-2, resolution=5.0)
    assert again.ids.tolist() == drawn[0].ids.tolist()  # of the seed, whatever the arm


@pytest.mark.parametrize(
    ("changes", "batch_size"), [({"accumulation_steps": 4}, 2), ({"recompute": True}, 8)]
)
def test_less_memory_is_the_same_training(trained, changes, batch_size):
    *_, expected = trained(norm="group", learning_rate=1e-2)
    _, computed_at_once, ours = trained(norm="group", learning_rate=1e-2, **changes)
    assert computed_at_once == batch_size
    np.testing.assert_allclose(ours["score"], expected["score"], atol=1e-5)
    assert expected["score"].std() > 1e-4


def test_a_cell_of_three_classes_scores_each_of_them(make_cell, monkeypatch):
    examples = random_examples(LUNA16, 5.0, NUM_CASES)
    examples = replace(examples, labels=(np.arange(NUM_CASES) % 3).astype(np.int8))
    three = replace(LUNA16, class_names=("none", "benign", "malignant"))
    monkeypatch.setattr(worker, "load_splits", lambda *of, **scored: (examples,) * 3)
    monkeypatch.setattr(worker, "describe", lambda *of: three)
    monkeypatch.setattr(worker, "configure_threads", lambda number: None)
    cell = make_cell(dataset_digest="", budget_examples=16)
    result = worker.train(Order(cell, "run", "", "", time.time()), lambda event: None)
    scores = result.predictions[["score_0", "score_1", "score_2"]]
    assert "score" not in result.predictions
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert result.predictions["label"].tolist() == examples.labels.tolist()
    expected = roc_auc_score(examples.labels, scores, multi_class="ovr", average="macro")
    assert result.metrics["test_auc"] == pytest.approx(expected, abs=1e-6)
