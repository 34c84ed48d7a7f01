"""A cell, trained in this process on crops of noise: what reaches the training loop."""

import time

import pytest

from mlp_med.pipelines.datasets import LUNA16
from mlp_med.studies import worker
from mlp_med.studies.launcher import Order
from tests.pipelines.crops import random_examples

NUM_CASES = 48  # of 16 patients


@pytest.fixture
def trained(make_cell, monkeypatch):
    """Trains a cell and returns the training set that its batches were drawn from."""
    examples = random_examples(LUNA16, 5.0, NUM_CASES)
    monkeypatch.setattr(worker, "load_splits", lambda *of, **scored: (examples,) * 3)
    monkeypatch.setattr(worker, "configure_threads", lambda number: None)  # TensorFlow has begun
    make_batches = worker.distributed_training_batches

    def train(**changes):
        seen = []

        def spy(strategy, examples, **options):
            seen.append(examples)
            return make_batches(strategy, examples, **options)

        monkeypatch.setattr(worker, "distributed_training_batches", spy)
        cell = make_cell(
            dataset_digest="", budget_examples=16, scored_split="validation", **changes
        )
        result = worker.train(Order(cell, "run", "", "", time.time()), lambda event: None)
        assert len(result.predictions) == NUM_CASES
        return seen[0]

    return train


def test_a_fraction_of_the_training_set_is_what_a_cell_trains_on(trained):
    whole = trained()
    assert len(whole) == NUM_CASES
    drawn = [trained(training_fraction=0.25, seed=seed) for seed in (0, 1)]
    assert [len(set(part.patients)) for part in drawn] == [4, 4]
    assert set(drawn[0].patients) != set(drawn[1].patients)
    again = trained(training_fraction=0.25, seed=0, learning_rate=1e-2, resolution=5.0)
    assert again.ids.tolist() == drawn[0].ids.tolist()  # of the seed, whatever the arm
