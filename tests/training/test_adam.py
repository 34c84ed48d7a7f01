import keras
import numpy as np
import pytest
import tensorflow as tf

from mlp_med.training.adam import Adam
from mlp_med.training.schedule import WarmupCosine


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_equal_those_of_keras(weight_decay):
    generator = np.random.default_rng(0)
    start = [generator.normal(size=shape) for shape in ((3, 4), (4,))]
    gradients = [[generator.normal(size=values.shape) for values in start] for _ in range(5)]
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    schedule = WarmupCosine(0.05, num_steps=5, warmup_fraction=0.4)
    with strategy.scope():
        ours = [tf.Variable(values, dtype=tf.float32) for values in start]
        optimizer = Adam(ours, schedule, weight_decay)
        theirs = [tf.Variable(values, dtype=tf.float32) for values in start]
        reference = keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
        reference.exclude_from_weight_decay(var_list=theirs[1:])
        reference.build(theirs)
    for step in gradients:
        tensors = [tf.constant(values, tf.float32) for values in step]
        strategy.run(optimizer.apply, args=(tensors,))
        strategy.run(reference.apply, args=(tensors,))
    for our, their, before in zip(ours, theirs, start, strict=True):
        # Keras puts epsilon elsewhere, which 1e-7 does not show.
        np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-6)
        assert np.abs(our - before).min() > 1e-3
    assert int(optimizer.step) == 5


def test_its_state_can_be_saved_and_restored(tmp_path):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        variable = tf.Variable([1.0, 2.0])
        optimizers = [Adam([variable], WarmupCosine(0.1, 10)) for _ in range(2)]
    strategy.run(optimizers[0].apply, args=([tf.constant([1.0, -1.0])],))
    path = tf.train.Checkpoint(optimizer=optimizers[0]).save(str(tmp_path / "state"))
    tf.train.Checkpoint(optimizer=optimizers[1]).restore(path).assert_consumed()
    assert int(optimizers[1].step) == 1
    np.testing.assert_allclose(optimizers[1].first_moments[0], [0.1, -0.1], rtol=1e-5)


def test_two_half_batches_at_the_window_of_the_whole_average_as_one_step_does():
    """Of one gradient that comes twice, the moments are those of one step with the usual rates."""
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        variables = [tf.Variable([1.0, 2.0]) for _ in range(2)]
        whole = Adam(variables[:1], WarmupCosine(0.1, 10))
        halves = Adam(variables[1:], WarmupCosine(0.1, 10), window_scale=0.5)
    gradient = [tf.constant([0.3, -2.0])]
    strategy.run(whole.apply, args=(gradient,))
    for _ in range(2):
        strategy.run(halves.apply, args=(gradient,))
    for one, other in zip(
        (*whole.first_moments, *whole.second_moments),
        (*halves.first_moments, *halves.second_moments),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4)


def test_a_window_of_the_batch_itself_changes_no_bit():
    variable = tf.Variable([1.0])
    usual, same = (Adam([variable], WarmupCosine(0.1, 10), 0.0, *more) for more in ((), (1.0,)))
    assert (usual.beta_1, usual.beta_2) == (same.beta_1, same.beta_2) == (0.9, 0.999)
