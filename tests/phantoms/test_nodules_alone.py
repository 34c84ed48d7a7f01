"""The variant without mimics: the same marks, and nothing but lung where no nodule is."""

import numpy as np

from mlp_med.phantoms import variants
from mlp_med.phantoms.scan import plan_scan


def mean_about(voxels, grid, centre_mm, reach_mm=3.0):
    """Mean HU within so many mm of a place, along every axis."""
    spacing = np.array([grid.pixel_mm, grid.pixel_mm, grid.slice_mm])
    low = np.maximum(np.floor((centre_mm - reach_mm) / spacing).astype(int), 0)
    high = np.ceil((centre_mm + reach_mm) / spacing).astype(int) + 1
    x, y, z = (slice(a, b) for a, b in zip(low, high, strict=True))
    return voxels[z, y, x].mean()


def test_what_is_marked_and_is_no_nodule_is_ordinary_lung():
    alone, among_mimics = (variants.plan(v, 3, 0) for v in ("nodules_alone", "nodules"))
    assert alone.series_uid != among_mimics.series_uid
    marks = [finding.candidate_mm for finding in among_mimics.findings]
    np.testing.assert_array_equal([finding.candidate_mm for finding in alone.findings], marks)
    voxels, other = variants.render(alone), variants.render(among_mimics)
    about = {True: [], False: []}
    drawn = []
    for finding in alone.findings:
        about[finding.is_nodule].append(mean_about(voxels, alone.grid, finding.centre_mm))
        if not finding.is_nodule:
            drawn.append(mean_about(other, alone.grid, finding.centre_mm))
    assert np.median(about[False]) < np.median(drawn) - 100
    assert np.median(about[False]) < np.median(about[True]) - 100


def test_the_phantom_says_that_it_has_no_look_alikes():
    with_mimics, without = (
        variants.departures(v, 2.5) for v in (variants.NODULES, variants.NODULES_ALONE)
    )
    assert len(with_mimics) == len(without)
    assert any("hard mimic" in sentence for sentence in with_mimics)
    assert not any("hard mimic" in sentence for sentence in without)
    assert variants.identity(variants.NODULES, 2.5) == {}  # as it was before there were others
    assert plan_scan(3, 0).has_mimics
