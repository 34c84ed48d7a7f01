import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mlp_med.pipelines.augment import draw_transforms, transform_crops
from mlp_med.pipelines.batches import (
    distributed_training_batches,
    evaluation_batches,
    training_batches,
)
from mlp_med.pipelines.datasets import LUNA16, METASTASIS_PATCHES
from mlp_med.pipelines.order import example_indices
from mlp_med.pipelines.upsample import upsample
from tests.pipelines.crops import RECTANGLE, block_mean, random_examples

SETTINGS = {
    "global_batch_size": 8,
    "seed": 3,
    "start": 0,
    "budget_examples": 96,
    "resolution": 5.0,
    "grid": 5.0,
    "description": LUNA16,
    "augment": True,
}


@pytest.fixture(scope="module")
def examples():
    return random_examples(LUNA16, 5.0, 40)


def train(examples, **changes):
    return training_batches(examples, **(SETTINGS | changes))


def joined(dataset):
    """All batches as three arrays, [num_batches · batch, …]."""
    return [np.concatenate(column) for column in zip(*dataset.as_numpy_iterator(), strict=True)]


def scaled(images):
    return np.clip((images.astype(np.float32) + 1000) / 1400, 0, 1)


def test_batches_are_the_ordered_transformed_scaled_examples(examples):
    images, labels, weights = joined(train(examples))
    order = example_indices(40, seed=3, start=0, count=96)
    draws = draw_transforms(seed=3, start=0, count=96, spatial_dims=3)
    crops = transform_crops(
        examples.images[order], draws.exchange, draws.flips, draws.shifts, voxels_per_shift=1
    )
    np.testing.assert_allclose(images, scaled(crops.numpy()), atol=1e-6)
    np.testing.assert_array_equal(labels, examples.labels[order])
    np.testing.assert_array_equal(weights, np.ones(96))
    assert {images.dtype.name, labels.dtype.name, weights.dtype.name} == {"float32"}
    assert images.std() > 0.2


def test_every_shape_is_static(examples):
    image, label, weight = train(examples).element_spec
    assert image == tf.TensorSpec([8, 8, 8, 8, 1], tf.float32)
    assert label == weight == tf.TensorSpec([8], tf.float32)
    assert train(examples).cardinality() == 12


def test_without_augmentation_crops_come_as_they_are(examples):
    images, _, _ = joined(train(examples, augment=False))
    order = example_indices(40, seed=3, start=0, count=96)
    np.testing.assert_allclose(images, scaled(examples.images[order]), atol=1e-6)


def test_what_lies_outside_the_intensity_window_is_clipped(examples):
    images = examples.images.copy()
    images[:20] = -3000
    images[20:] = 3000
    wild = dataclasses.replace(examples, images=images)
    batch, _, _ = joined(evaluation_batches(wild, 8, resolution=5.0, grid=5.0, description=LUNA16))
    np.testing.assert_array_equal(batch[:20], 0)
    np.testing.assert_array_equal(batch[20:], 1)


def test_the_same_arguments_give_the_same_bits_and_another_seed_does_not(examples):
    once, again, other = (joined(train(examples, seed=seed)) for seed in (3, 3, 4))
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(once[0], other[0])


def test_a_resumed_cell_sees_the_tail_of_the_same_sequence(examples):
    whole = joined(train(examples))
    tail = joined(train(examples, start=56))
    for a, b in zip(whole, tail, strict=True):
        np.testing.assert_array_equal(a[56:], b)


def test_the_batch_size_only_cuts_the_sequence(examples):
    for a, b in zip(
        joined(train(examples, global_batch_size=8)),
        joined(train(examples, global_batch_size=32)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_arms_of_equal_seed_see_the_same_anatomy_moved_in_the_same_way():
    fine = random_examples(LUNA16, 1.25, 12)
    averaged = np.round(block_mean(fine.images.astype(np.float64), 4))
    coarse = dataclasses.replace(fine, images=averaged.astype(np.int16))
    settings = {"budget_examples": 24, "global_batch_size": 4}
    fine_images, _, _ = joined(train(fine, resolution=1.25, grid=1.25, **settings))
    coarse_images, _, _ = joined(train(coarse, **settings))
    inside = (slice(None), *[slice(1, -1)] * 3)
    np.testing.assert_allclose(
        block_mean(fine_images, 4)[inside], coarse_images[inside], atol=1 / 1400
    )


def test_the_information_control_is_the_native_batch_upsampled(examples):
    native, labels, _ = joined(train(examples))
    control, control_labels, _ = joined(train(examples, grid=1.25))
    assert control.shape == (96, 32, 32, 32, 1)
    np.testing.assert_allclose(control, upsample(tf.constant(native), (32,) * 3), atol=1e-6)
    np.testing.assert_array_equal(labels, control_labels)


def test_images_of_slides_work_alike():
    patches = random_examples(METASTASIS_PATCHES, 7.76, 10)
    settings = {"description": METASTASIS_PATCHES, "resolution": 7.76, "budget_examples": 16}
    plain, _, _ = joined(train(patches, grid=7.76, augment=False, **settings))
    order = example_indices(10, seed=3, start=0, count=16)
    np.testing.assert_allclose(plain, patches.images[order] / np.float32(255), atol=1e-6)
    fine, _, _ = joined(train(patches, grid=0.97, **settings))
    assert fine.shape == (16, 96, 96, 3)


def test_a_field_of_unequal_edges_keeps_its_rows_and_columns():
    views = random_examples(RECTANGLE, 4.0, 10)
    settings = {"description": RECTANGLE, "resolution": 4.0, "budget_examples": 16}
    plain, _, _ = joined(train(views, grid=4.0, augment=False, **settings))
    order = example_indices(10, seed=3, start=0, count=16)
    np.testing.assert_allclose(plain, views.images[order] / np.float32(255), atol=1e-6)
    control, _, _ = joined(train(views, grid=1.0, augment=False, **settings))
    assert control.shape == (16, 260, 200, 3)
    np.testing.assert_allclose(block_mean(control, 4).mean((1, 2)), plain.mean((1, 2)), rtol=1e-4)
    expected = tf.image.resize(plain, (260, 200), method="bilinear")
    np.testing.assert_allclose(control, expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [7, 8, 64])
def test_evaluation_sees_each_example_once_and_pads_at_weight_0(examples, batch_size):
    dataset = evaluation_batches(examples, batch_size, resolution=5.0, grid=5.0, description=LUNA16)
    assert {tuple(w.shape) for _, _, w in dataset} == {(batch_size,)}
    images, labels, weights = joined(dataset)
    assert weights.sum() == 40
    np.testing.assert_array_equal(weights[40:], 0)
    np.testing.assert_allclose(images[:40], scaled(examples.images), atol=1e-6)
    np.testing.assert_array_equal(labels[:40], examples.labels)


@pytest.mark.parametrize(("offset", "shared"), [(0, True), (16, False)])
def test_images_are_not_copied_where_their_alignment_allows_it(examples, offset, shared):
    memory = np.zeros(examples.images.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    images = memory[start : start + examples.images.nbytes].view(np.int16)
    images = images.reshape(examples.images.shape)
    images[:] = 0
    dataset = train(dataclasses.replace(examples, images=images))
    images[:] = -1000
    seen = np.unique(joined(dataset)[0])
    assert seen == pytest.approx([0.0 if shared else 1000 / 1400])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget_examples": 100}, "budget_examples .* batch size 8, got 100; .*multiple is 96"),
        ({"budget_examples": 3}, "got 3; the nearest multiple is 8"),
        ({"start": 5}, "start .* got 5; the nearest multiple is 8"),
        ({"start": 104}, "start <= budget_examples = 96, got 104"),
        ({"start": 96}, "no example left to see"),
        ({"global_batch_size": 0}, "at least 1, got 0"),
        ({"resolution": 2.5, "grid": 2.5}, r"shape \(16, 16, 16, 1\) .*got \(8, 8, 8, 1\)"),
        ({"resolution": 3.0}, "no resolution 3 mm"),
        ({"grid": 3.0}, "no resolution 3 mm"),
        ({"resolution": 5.0, "description": METASTASIS_PATCHES}, "no resolution 5 um"),
    ],
)
def test_requests_that_contradict_themselves_are_refused(examples, changes, message):
    with pytest.raises(ValueError, match=message):
        train(examples, **changes)


def test_a_grid_coarser_than_the_crops_is_refused():
    with pytest.raises(ValueError, match=r"grid of 2\.5 mm or a whole part of it, got 5 mm"):
        train(random_examples(LUNA16, 2.5, 4), resolution=2.5, grid=5.0)


def test_one_device_gets_the_same_batches_through_its_strategy(examples):
    strategy = tf.distribute.get_strategy()
    settings = SETTINGS | {"start": 16}
    distributed = distributed_training_batches(strategy, examples, **settings)
    for a, b in zip(distributed, training_batches(examples, **settings), strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)


class PretendedStrategy:
    """Two workers of two replicas each; gives what each worker would read."""

    num_replicas_in_sync = 4

    def distribute_datasets_from_function(self, worker_batches):
        return [worker_batches(tf.distribute.InputContext(2, worker, 4)) for worker in range(2)]


def test_replicas_share_each_global_batch_and_nothing_twice(examples):
    settings = SETTINGS | {"start": 16}
    workers = distributed_training_batches(PretendedStrategy(), examples, **settings)
    shards = [list(worker.as_numpy_iterator()) for worker in workers]
    steps = list(training_batches(examples, **settings).as_numpy_iterator())
    assert [len(shard) for shard in shards] == [20, 20]
    for step, expected in enumerate(steps):
        # Worker 0 holds replicas 0 and 1; its next two elements are theirs.
        parts = [shards[worker][2 * step + local] for worker in range(2) for local in range(2)]
        for column, whole in enumerate(expected):
            assert {len(part[column]) for part in parts} == {2}
            np.testing.assert_array_equal(np.concatenate([p[column] for p in parts]), whole)


def test_replicas_that_do_not_divide_the_batch_are_refused(examples):
    with pytest.raises(ValueError, match=r"4 replicas can share evenly, got 6; .*multiple is 8"):
        distributed_training_batches(
            PretendedStrategy(), examples, **(SETTINGS | {"global_batch_size": 6})
        )
