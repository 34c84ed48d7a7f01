"""Checkpoints of a small network; of whole cells in tests/studies/test_resume.py."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlp_med.training.checkpoints import Checkpoints
from mlp_med.training.evaluation import Evaluation
from mlp_med.training.history import History, LossPoint, ValidationPoint
from mlp_med.training.loop import fit

IDENTITY = {"cell": "a"}
BATCH, BUDGET = 4, 48


class StoppedError(Exception):
    pass


@pytest.fixture
def train(tmp_path):
    """Trains with the validation AUCs given, from a checkpoint if there is one."""
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    rng = np.random.default_rng(0)
    images = rng.normal(size=(BUDGET, 3)).astype(np.float32)
    columns = (images, (images[:, 0] > 0).astype(np.float32), np.ones(BUDGET, np.float32))

    def run(aucs, *, stop_at=None, name="checkpoint", **options):
        settings = {"every_seconds": 0.0, **options}
        checkpoints = Checkpoints(tmp_path / name, IDENTITY, **settings)
        with strategy.scope():
            model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
            model.set_weights([np.full((3, 1), 0.1), np.zeros(1)])
        data = tf.data.Dataset.from_tensor_slices(columns).batch(BATCH, drop_remainder=True)

        def progress(examples_seen, auc):
            if examples_seen == stop_at:
                raise StoppedError

        arguments = {
            "budget_examples": BUDGET,
            "global_batch_size": BATCH,
            "learning_rate": 0.1,
            "num_evaluations": len(aucs),
            "steps_per_call": 2,
        }
        left = iter(aucs[checkpoints.examples_seen * len(aucs) // BUDGET :])
        history = fit(
            model,
            strategy,
            data.skip(checkpoints.examples_seen // BATCH),
            lambda: Evaluation(next(left), 0.5),
            **arguments,
            on_progress=progress,
            checkpoints=checkpoints,
        )
        return model.get_weights(), history, checkpoints

    return run


def test_the_weights_that_validated_best_outlive_an_interruption(train):
    aucs = [0.9, 0.6, 0.7]
    with pytest.raises(StoppedError):
        train(aucs, stop_at=40)
    weights, history, checkpoints = train(aucs)
    assert checkpoints.examples_seen == 32
    assert history.best == history.validation[0]
    assert [point.auc for point in history.validation] == aucs
    expected, whole, _ = train(aucs, name="another")
    assert history.training == whole.training
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    last, *_ = train([0.5, 0.6, 0.7], name="third")
    assert not np.array_equal(last[0], weights[0])


def test_a_short_run_writes_none_and_a_long_one_not_after_its_last_step(train, tmp_path):
    *_, short = train([0.5], every_seconds=1000.0)
    *_, beside = train([0.5], writes=False)
    assert list(tmp_path.iterdir()) == []
    assert (short.figures(), short.words(), beside.figures()) == ({}, {}, {})
    *_, long = train([0.5])
    assert long.figures()["checkpoints_written"] == BUDGET / BATCH / 2 - 1
    assert Checkpoints(tmp_path / "checkpoint", IDENTITY, every_seconds=0).examples_seen == 40


def test_a_history_comes_back_from_plain_values_to_the_last_bit():
    point = ValidationPoint(8, 0.1 + 0.2, 1 / 3, 2 / 3)
    history = History([point], [LossPoint(8, 0.7)], point, 8, 0.1, 0.2, 0.3)
    assert History.from_plain(history.to_plain()) == history
    assert History.from_plain(History().to_plain()) == History()
