import keras
import numpy as np
import pytest
import tensorflow as tf

from mlp_med.errors import TrainingError
from mlp_med.models.residual import build_model
from mlp_med.training.evaluation import Evaluation, evaluate_logits
from mlp_med.training.loop import fit
from mlp_med.training.predict import make_scorer
from mlp_med.training.step import cross_entropy

GRID = (8, 8, 8)


@pytest.fixture(scope="module")
def strategy():
    return tf.distribute.OneDeviceStrategy("CPU:0")


def blobs(num_examples, seed):
    """Noise, and in every other example a bright cube of 3 voxels somewhere."""
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(num_examples, *GRID, 1)).astype(np.float32)
    labels = (np.arange(num_examples) % 2).astype(np.float32)
    for image in images[1::2]:
        z, y, x = generator.integers(0, 6, size=3)
        image[z : z + 3, y : y + 3, x : x + 3] += 2.0
    return images, labels


def batches_of(images, labels, batch_size, weights=None):
    weights = np.ones_like(labels) if weights is None else weights
    dataset = tf.data.Dataset.from_tensor_slices((images, labels, weights))
    return dataset.batch(batch_size, drop_remainder=True).repeat()


def small_model(strategy, **arguments):
    with strategy.scope():
        return build_model(
            **{"spatial_dims": 3, "num_channels": 1, "widths": (4,), "stem_stride": 1} | arguments
        )


def train(strategy, model, batches, evaluate=lambda: Evaluation(0.5, 0.7), **arguments):
    defaults = {
        "budget_examples": 64,
        "global_batch_size": 8,
        "learning_rate": 1e-2,
        "num_evaluations": 1,
    }
    return fit(model, strategy, batches, evaluate, **defaults | arguments)


def test_a_task_that_can_be_learnt_is_learnt(strategy):
    images, labels = blobs(512, seed=0)
    held_out, held_out_labels = blobs(200, seed=1)
    model = small_model(strategy, widths=(4, 8))
    score = make_scorer(model)
    validation = tf.data.Dataset.from_tensor_slices(
        (held_out, held_out_labels, np.ones_like(held_out_labels))
    ).batch(64)

    def evaluate():
        return evaluate_logits(score(validation), held_out_labels)

    history = train(
        strategy,
        model,
        batches_of(images, labels, 16),
        evaluate,
        budget_examples=1536,
        global_batch_size=16,
        num_evaluations=3,
    )
    losses = [point.loss for point in history.training]
    assert np.mean(losses[-4:]) < 0.5 * losses[0]
    assert history.best.auc >= 0.9
    assert evaluate().auc == history.best.auc


def test_the_same_seed_trains_the_same_weights_bit_for_bit(strategy):
    images, labels = blobs(64, seed=0)

    def weights(seed):
        model = small_model(strategy, seed=seed)
        train(strategy, model, batches_of(images, labels, 8), budget_examples=160)
        return [weight.tobytes() for weight in model.get_weights()]

    first = weights(seed=3)
    assert weights(seed=3) == first
    assert weights(seed=4) != first


def test_how_many_steps_a_call_takes_changes_nothing(strategy):
    images, labels = blobs(64, seed=0)
    results = []
    for steps_per_call in (1, 5):
        model = small_model(strategy)
        history = train(
            strategy, model, batches_of(images, labels, 8), steps_per_call=steps_per_call
        )
        results.append((model.get_weights(), np.mean([p.loss for p in history.training])))
    for one, five in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_array_equal(one, five)


def test_accumulation_equals_the_big_batch_where_examples_do_not_see_each_other(strategy):
    images, labels = blobs(64, seed=0)
    results = []
    for accumulation_steps in (1, 4):
        model = small_model(strategy, norm="group")
        train(
            strategy,
            model,
            batches_of(images, labels, 16 // accumulation_steps),
            global_batch_size=16,
            learning_rate=1e-3,
            accumulation_steps=accumulation_steps,
        )
        results.append(model.get_weights())
    start = small_model(strategy, norm="group").get_weights()
    for whole, parts, before in zip(*results, start, strict=True):
        np.testing.assert_allclose(parts, whole, atol=1e-5)
        assert np.abs(whole - before).max() > 1e-4


def test_moments_over_the_examples_of_the_batch_itself_are_the_usual_ones(strategy):
    images, labels = blobs(64, seed=0)

    def weights(window):
        model = small_model(strategy)
        batches = batches_of(images, labels, 8)
        train(strategy, model, batches, global_batch_size=8, moment_window_batch=window)
        return [weight.tobytes() for weight in model.get_weights()]

    usual = weights(0)
    assert weights(8) == usual
    assert weights(32) != usual


def test_examples_of_weight_zero_teach_nothing(strategy):
    images, labels = blobs(64, seed=0)
    weights = (np.arange(64) % 8 < 6).astype(np.float32)
    results = []
    for swap in (False, True):
        swapped = np.where(weights == 0, 1 - labels, labels) if swap else labels
        model = small_model(strategy)
        train(strategy, model, batches_of(images, swapped.astype(np.float32), 8, weights))
        results.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_the_weights_that_validated_best_are_the_ones_that_remain(strategy):
    images, labels = blobs(64, seed=0)
    model = small_model(strategy)
    aucs, kept = iter([0.6, 0.9, 0.9, 0.7]), []

    def evaluate():
        kept.append(model.get_weights())
        return Evaluation(auc=next(aucs), loss=0.5)

    history = train(strategy, model, batches_of(images, labels, 8), evaluate, num_evaluations=4)
    assert history.best.examples_seen == 32
    assert [point.examples_seen for point in history.validation] == [16, 32, 48, 64]
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), kept[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(kept[1], kept[2], strict=True))


def test_a_validation_auc_that_never_was_a_number_is_refused(strategy):
    images, labels = blobs(64, seed=0)
    with pytest.raises(TrainingError, match="one class") as error:
        train(
            strategy,
            small_model(strategy),
            batches_of(images, labels, 8),
            lambda: Evaluation(float("nan"), 0.5),
        )
    assert error.value.kind == "no_validation_auc"


def test_a_loss_that_is_not_finite_stops_the_training_soon(strategy):
    images, labels = blobs(640, seed=0)
    images[100] = np.nan
    seen = []
    with pytest.raises(TrainingError, match="learning rate") as error:
        train(
            strategy,
            small_model(strategy),
            batches_of(images, labels, 8),
            budget_examples=640,
            on_progress=lambda examples_seen, auc: seen.append(examples_seen),
        )
    assert error.value.kind == "non_finite_loss"
    assert max(seen) < 100  # the 13th of 80 steps is the bad one


def test_a_validation_loss_that_is_not_finite_is_no_result_either(strategy):
    images, labels = blobs(64, seed=0)
    with pytest.raises(TrainingError, match="validation loss") as error:
        train(
            strategy,
            small_model(strategy),
            batches_of(images, labels, 8),
            lambda: Evaluation(0.5, float("inf")),
        )
    assert error.value.kind == "non_finite_loss"


def test_batches_that_end_before_the_budget_are_an_error(strategy):
    images, labels = blobs(64, seed=0)
    with pytest.raises(TrainingError) as error:
        train(
            strategy,
            small_model(strategy),
            batches_of(images, labels, 8).take(5),
        )
    assert error.value.kind == "out_of_data"


def test_progress_hears_of_examples_and_of_every_evaluation(strategy):
    images, labels = blobs(64, seed=0)
    heard = []
    history = train(
        strategy,
        small_model(strategy),
        batches_of(images, labels, 8),
        num_evaluations=2,
        steps_per_call=3,
        on_progress=lambda *what: heard.append(what),
    )
    assert heard == [(24, None), (32, 0.5), (56, None), (64, 0.5)]
    assert [point.examples_seen for point in history.training] == [24, 32, 56, 64]
    assert history.examples_seen == 64
    assert history.examples_per_second == pytest.approx(64 / history.seconds_training)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"budget_examples": 63}, "multiple of the global batch size, got 63"),
        ({"budget_examples": 0}, "positive multiple"),
        ({"num_evaluations": 9}, "between 1 and 8 evaluations"),
        ({"accumulation_steps": 3}, "divide the global batch size 8, got 3"),
        ({"steps_per_call": 0}, "at least one step a call"),
    ],
)
def test_numbers_that_do_not_fit_together_are_named(strategy, wrong, message):
    images, labels = blobs(16, seed=0)
    with pytest.raises(ValueError, match=message):
        train(strategy, small_model(strategy), batches_of(images, labels, 8), **wrong)


def test_mixed_precision_trains(strategy):
    images, labels = blobs(64, seed=0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small_model(strategy)
        before = model.get_weights()
        train(strategy, model, batches_of(images, labels, 8))
    finally:
        keras.config.set_dtype_policy("float32")
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_training_that_is_stopped_keeps_its_last_weights(strategy):
    images, labels = blobs(64, seed=0)
    model, asked, kept = small_model(strategy), [], []
    aucs = iter([0.9, 0.6, 0.7])

    def should_stop():
        asked.append(len(asked))
        kept.append([weight.tobytes() for weight in model.get_weights()])
        return len(asked) == 3

    history = train(
        strategy,
        model,
        batches_of(images, labels, 8),
        lambda: Evaluation(next(aucs), 0.5),
        budget_examples=320,
        num_evaluations=5,
        should_stop=should_stop,
    )
    assert history.examples_seen == 3 * 64
    assert [point.auc for point in history.validation] == [0.9, 0.6, 0.7]
    assert history.best.auc == 0.9
    assert [weight.tobytes() for weight in model.get_weights()] == kept[2] != kept[0]


def test_the_loss_is_keras_own_of_two_classes_and_of_three():
    rng = np.random.default_rng(0)
    labels = tf.constant(np.arange(9) % 2, tf.float32)
    logits = tf.constant(rng.normal(size=(9, 1)), tf.float32)
    expected = keras.ops.binary_crossentropy(labels[:, None], logits, from_logits=True)[:, 0]
    np.testing.assert_allclose(cross_entropy(labels, logits), expected, rtol=1e-5)
    labels = tf.constant(np.arange(9) % 3, tf.float32)
    logits = tf.constant(rng.normal(size=(9, 3)), tf.float32)
    expected = keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    np.testing.assert_allclose(cross_entropy(labels, logits), expected, rtol=1e-5)


def test_three_classes_that_can_be_learnt_are_learnt(strategy):
    """Noise whose mean is one of three: the middle one is no end of any single score."""
    generator = np.random.default_rng(2)
    labels = (np.arange(384) % 3).astype(np.float32)
    images = generator.normal(size=(384, *GRID, 1)) + 0.4 * (labels - 1)[:, None, None, None, None]
    images = images.astype(np.float32)
    model = small_model(strategy, num_classes=3, norm="none")
    score = make_scorer(model)
    validation = tf.data.Dataset.from_tensor_slices((images, labels, labels * 0 + 1)).batch(64)
    history = train(
        strategy,
        model,
        batches_of(images, labels, 16),
        lambda: evaluate_logits(score(validation), labels),
        budget_examples=3072,
        global_batch_size=16,
    )
    assert history.best.auc > 0.95
    assert history.training[-1].loss < 0.5 < np.log(3) < history.training[0].loss + 0.3
