import pytest

from experiments.resolution_matters import arms, claim
from experiments.sizes import SIZES

SMALL = SIZES["luna16"]["small"]


def test_the_small_size_is_another_on_drawn_scans_and_both_say_so():
    for phantom, margin, augment in [(True, 0.02, False), (False, 0.01, True)]:
        size = SMALL.on(phantom=phantom)
        written = claim(size, "mm", phantom=phantom)
        assert written.margin == margin
        assert written.statement.endswith(f"by more than {margin:g}")
        assert {arm.augment for arm in arms(size, "mm", phantom=phantom)} == {augment}


@pytest.mark.parametrize("dataset", SIZES)
def test_the_crops_that_are_built_are_those_of_drawn_and_of_real_scans(dataset):
    for size in SIZES[dataset].values():
        drawn = size.on(phantom=True)
        assert drawn.resolutions == size.resolutions
        assert drawn.on(phantom=True) == drawn
        assert size.on(phantom=False) == size
