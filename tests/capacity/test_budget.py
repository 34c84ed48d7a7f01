from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.capacity.budget import Place, fit_into
from mlp_med.capacity.inverse import fewest_tiles, finest_grid, largest_batch
from mlp_med.capacity.platforms import catalogue
from mlp_med.capacity.workload import Workload
from mlp_med.errors import CapacityError

WORKLOAD = Workload(model="residual_small", voxels=(32, 32, 32), num_channels=1, batch_size=4)
EXAM = Workload(model="residual_small", voxels=(2600, 2000), num_channels=1, batch_size=2)
PLACE = Place()
budgets = st.integers(1_010_000_000, 10**12)


@settings(deadline=None, max_examples=8)
@given(budgets)
def test_the_largest_batch_fits_and_one_more_does_not(budget):
    batch = largest_batch(WORKLOAD, budget, PLACE.needed)
    assert batch >= 1
    assert PLACE.needed(WORKLOAD.with_batch(batch)) <= budget
    assert PLACE.needed(WORKLOAD.with_batch(batch + 1)) > budget


@settings(deadline=None, max_examples=8)
@given(budgets)
def test_the_finest_grid_fits_and_the_next_does_not(budget):
    found = finest_grid(WORKLOAD, budget, PLACE.needed)
    assert found is not None
    assert PLACE.needed(found) <= budget
    next_grid = tuple(edge + 2 for edge in found.voxels)
    finer = Workload(model="residual_small", voxels=next_grid, num_channels=1, batch_size=4)
    assert PLACE.needed(finer) > budget


def test_a_grid_keeps_its_proportion():
    found = finest_grid(EXAM, 5 * 10**9, PLACE.needed)
    assert found is not None
    assert found.voxels[0] / found.voxels[1] == pytest.approx(1.3, rel=0.01)


@settings(deadline=None, max_examples=8)
@given(st.integers(1_300_000_000, 10**10))
def test_the_fewest_tiles_fit_and_fewer_do_not(budget):
    found = fewest_tiles(EXAM, budget, PLACE.needed)
    assert found is not None
    assert PLACE.needed(found) <= budget
    fewer = [n for n in range(1, found.split) if all(edge % n == 0 for edge in EXAM.voxels)]
    assert all(PLACE.needed(replace(EXAM, split=n)) > budget for n in fewer)


def test_nothing_fits_into_little_more_than_the_process():
    budget = Place().plan(WORKLOAD).process_base + 1
    found = fit_into(WORKLOAD, budget, PLACE)
    assert (found.fits, found.batch, found.grid, found.tiled) == (False, 0, None, None)


def test_a_budget_below_the_process_is_refused_with_both_numbers():
    with pytest.raises(CapacityError, match=r"100,000,000 bytes is less than .* 842,000,000"):
        fit_into(WORKLOAD, 100_000_000, PLACE)


def test_on_a_gpu_the_process_stays_on_the_host():
    host = PLACE.plan(WORKLOAD)
    device = Place(platform=catalogue()["h100"], dataset_bytes=10**9).plan(WORKLOAD)
    assert device.activations == host.activations
    assert device.dataset == 0
    assert device.peak < host.peak


def test_the_crops_count_where_the_process_is():
    assert Place(dataset_bytes=10**9).needed(WORKLOAD) == PLACE.needed(WORKLOAD) + 10**9


def test_thousands_of_tiles_are_not_too_many():
    huge = Workload(model="residual", voxels=(4096,) * 3, num_channels=1, batch_size=8)
    images = PLACE.plan(replace(huge, split=1024)).input_buffers
    found = fit_into(huge, 11_805 * images // 10_000, PLACE)
    assert not found.fits
    assert found.tiled is not None
    assert found.tiled.num_tiles >= 4096
    assert fit_into(huge, images, PLACE).tiled is None
