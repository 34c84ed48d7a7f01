import keras
import numpy as np
import pytest
import tensorflow as tf

from mlp_med.models.residual import build_model
from mlp_med.training.step import compile_training_steps
from tests.models.graphs import ancestors

SHAPES = {2: (4, 16, 12, 2), 3: (4, 8, 16, 8, 2)}


def residual(spatial_dims, norm, *, recompute):
    return build_model(
        spatial_dims=spatial_dims,
        num_channels=2,
        widths=(6, 8),
        blocks_per_stage=2,
        norm=norm,
        recompute=recompute,
        seed=3,
    )


def weights_of(model):
    """By layer and weight, wherever in the model the layer sits."""
    return {"/".join(v.path.split("/")[-2:]): v for v in model.variables}


def gradients_of(model, images):
    """Loss and gradients of a training step, as a graph computes them."""
    names = [name for name, weight in weights_of(model).items() if weight.trainable]
    targets = [weights_of(model)[name].value for name in names]

    @tf.function(autograph=False)
    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(model(images, training=True) - 1.0))
        return loss, tape.gradient(loss, targets)

    loss, gradients = step(images)
    return loss, dict(zip(names, gradients, strict=True))


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_loss_gradients_and_running_statistics_are_those_of_the_plain_network(spatial_dims, norm):
    plain, recomputing = (residual(spatial_dims, norm, recompute=r) for r in (False, True))
    assert weights_of(plain).keys() == weights_of(recomputing).keys()
    if norm == "none":  # whose blocks begin as nothing, so that little would have a gradient
        generator = np.random.default_rng(1)
        for name, weight in weights_of(plain).items():
            weight.assign(generator.normal(0, 0.2, weight.shape))
            weights_of(recomputing)[name].assign(weight)
    images = tf.random.stateless_normal(SHAPES[spatial_dims], seed=(1, 2))
    (loss, gradients), (our_loss, ours) = (gradients_of(m, images) for m in (plain, recomputing))
    np.testing.assert_allclose(our_loss, loss, rtol=1e-6)
    for name, gradient in gradients.items():
        largest = float(tf.reduce_max(tf.abs(gradient)))
        assert largest > 0 or name == "stem/bias", name
        np.testing.assert_allclose(ours[name], gradient, atol=1e-5 * largest, err_msg=name)
    for name, weight in weights_of(plain).items():
        np.testing.assert_allclose(weights_of(recomputing)[name], weight, atol=1e-6, err_msg=name)
    scores = (model(images, training=False) for model in (plain, recomputing))
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-5)


def operations_of_a_step(spatial_dims):
    """Of the graph of a recomputing network's gradients."""
    model = residual(spatial_dims, "batch", recompute=True)

    @tf.function(autograph=False)
    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=True))
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    traced = step.get_concrete_function(tf.TensorSpec(SHAPES[spatial_dims]))
    return traced.graph.get_operations()


def test_nothing_is_computed_again_before_the_gradient_is_there():
    """What could be computed again at once would lie in memory until it is wanted."""
    operations = operations_of_a_step(3)
    norms = [op for op in operations if op.type == "FusedBatchNormV3"]
    kinds_before = [{before.type for before in ancestors(op)} for op in norms]
    again = [kinds for kinds in kinds_before if "FusedBatchNormGradV3" in kinds]
    num_norms = 8
    assert len(again) == num_norms
    assert len(norms) == 2 * num_norms + 1  # the last one's output is small and is kept


def test_filter_gradients_do_not_wait_for_the_end_of_the_step():
    """What they are computed from would lie in memory beside the norm's own gradient."""
    operations = operations_of_a_step(2)
    norms = [op for op in operations if op.type == "FusedBatchNormGradV3"]
    filters = {op for op in operations if op.type == "Conv2DBackpropFilter"}
    # Before the last of the norms' gradients, the first norm's: all but the stem's.
    assert max(len(filters & ancestors(norm)) for norm in norms) == len(filters) - 1


def test_bfloat16_learns_the_same_within_its_rounding():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        plain, recomputing = (residual(3, "batch", recompute=r) for r in (False, True))
    finally:
        keras.config.set_dtype_policy(policy)
    images = tf.random.stateless_normal(SHAPES[3], seed=(1, 2))
    (_, gradients), (_, ours) = (gradients_of(model, images) for model in (plain, recomputing))
    for name, gradient in gradients.items():
        assert ours[name].dtype == gradient.dtype == tf.float32
        largest = float(tf.reduce_max(tf.abs(gradient)))
        np.testing.assert_allclose(ours[name], gradient, atol=2e-2 * largest, err_msg=name)


def test_a_variable_is_read_again_before_the_optimizer_changes_it():
    """In one graph: the gradient of a variable is there before the last use of its value."""
    images = tf.random.stateless_normal((16, 8, 8, 8, 1), seed=(1, 2))
    dataset = tf.data.Dataset.from_tensor_slices((images, tf.cast(tf.range(16) % 2, tf.float32)))
    dataset = dataset.map(lambda image, label: (image, label, 1.0)).batch(8, drop_remainder=True)

    def trained(recompute):
        """The optimiser's moments after two steps that change every weight altogether."""
        model = build_model(
            spatial_dims=3, num_channels=1, widths=(8, 16, 32), norm="none", recompute=recompute
        )
        steps = compile_training_steps(
            model,
            tf.distribute.get_strategy(),
            iter(dataset),
            num_steps=2,
            global_batch_size=8,
            learning_rate=1e-2,
            weight_decay=0.0,
            warmup_fraction=0.0,
            accumulation_steps=1,
        )
        steps(2)
        moments = steps.optimizer_variables[: len(model.trainable_weights)]
        paths = ("/".join(weight.path.split("/")[-2:]) for weight in model.trainable_weights)
        return dict(zip(paths, moments, strict=True))

    expected = trained(recompute=False)
    for _ in range(4):  # every trace is another graph, in another order
        for name, moment in trained(recompute=True).items():
            largest = float(tf.reduce_max(tf.abs(expected[name])))
            np.testing.assert_allclose(moment, expected[name], atol=1e-4 * largest, err_msg=name)
