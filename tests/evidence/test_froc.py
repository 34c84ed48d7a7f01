import numpy as np
import pytest
from sklearn.metrics import roc_curve

from mlp_med.errors import EvidenceError
from mlp_med.evidence.froc import LUNA16_RATES, Detections, _curves, froc, froc_curve


def detections(num_scans=40, seed=0, ties=True) -> Detections:
    """Lesions that score higher on average, some of them missed; scores collide if `ties`."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(1.0, 1.0, 60)
    scores[generator.random(60) < 0.2] = -np.inf
    false = generator.normal(0.0, 1.0, 500)
    if ties:
        scores, false = np.round(scores, 1), np.round(false, 1)
    return Detections(
        scores,
        generator.integers(num_scans, size=60),
        false,
        generator.integers(num_scans, size=500),
        num_scans,
    )


def by_definition(found: Detections, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve of the marks written out as often as their scan was drawn."""
    lesions = np.repeat(found.lesion_scores, counts[found.lesion_scans])
    false = np.repeat(found.false_scores, counts[found.false_scans])
    hit = lesions[np.isfinite(lesions)]
    labels = np.concatenate([np.ones(len(hit)), np.zeros(len(false))])
    fpr, tpr, _ = roc_curve(labels, np.concatenate([hit, false]), drop_intermediate=False)
    return fpr * len(false) / counts.sum(), tpr * len(hit) / len(lesions)


@pytest.mark.parametrize("ties", [False, True])
def test_resampled_curves_are_those_of_the_marks_written_out(ties):
    found = detections(ties=ties)
    counts = np.random.default_rng(1).multinomial(40, np.full(40, 1 / 40), size=20)
    for index, (x, y) in enumerate(zip(*_curves(found, counts), strict=True)):
        expected = by_definition(found, counts[index])
        rates = np.linspace(0, 14, 57) + 1e-4  # off the steps, where interpolation is unique
        np.testing.assert_allclose(np.interp(rates, x, y), np.interp(rates, *expected))


def test_sensitivity_is_interpolated_between_thresholds():
    # One of two lesions at the top, then two false positives in two scans, then the other lesion.
    found = Detections(
        np.array([0.9, 0.1]), np.array([0, 1]), np.array([0.5, 0.4]), np.array([0, 1]), 2
    )
    x, y = froc_curve(found)
    np.testing.assert_allclose(x, [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(y, [0, 0.5, 0.5, 0.5, 1])
    # A mark and a false positive of one score pass the threshold together.
    tied = Detections(np.array([0.5, 0.5]), np.array([0, 1]), np.array([0.5]), np.array([0]), 2)
    result = froc(tied, (0.25, 0.5, 8.0), num_bootstrap=0)
    np.testing.assert_allclose(result.sensitivities, [0.5, 1, 1])


def test_a_monotone_change_of_scores_changes_nothing():
    found = detections()
    changed = Detections(
        np.exp(found.lesion_scores) - 1,
        found.lesion_scans,
        np.exp(found.false_scores) - 1,
        found.false_scans,
        found.num_scans,
    )
    missed = np.isneginf(found.lesion_scores)
    changed.lesion_scores[missed] = -np.inf
    np.testing.assert_allclose(
        froc(changed, num_bootstrap=0).sensitivities, froc(found, num_bootstrap=0).sensitivities
    )


def test_a_detector_without_marks_finds_nothing_and_one_without_errors_all():
    none = Detections(np.full(3, -np.inf), np.arange(3), np.empty(0), np.empty(0, np.int64), 5)
    assert froc(none).cpm == 0
    perfect = Detections(np.arange(3.0), np.arange(3), np.empty(0), np.empty(0, np.int64), 5)
    result = froc(perfect)
    assert result.cpm == 1
    assert (result.cpm_low, result.cpm_high) == (1, 1)


def test_scans_that_are_all_alike_leave_no_doubt_and_others_do():
    number = 30
    alike = Detections(
        np.repeat([0.6], number), np.arange(number), np.repeat([0.7], number), np.arange(number), 30
    )
    result = froc(alike, num_bootstrap=50)
    np.testing.assert_array_equal(result.low, result.high)
    np.testing.assert_array_equal(result.low, result.sensitivities)
    unlike = froc(detections())
    assert (unlike.low < unlike.sensitivities).all()
    assert (unlike.sensitivities < unlike.high).all()
    assert unlike.cpm_low < unlike.cpm == unlike.sensitivities.mean() < unlike.cpm_high


def test_the_interval_is_as_wide_as_detectors_of_that_kind_differ():
    values = [froc(detections(seed=seed), num_bootstrap=0).cpm for seed in range(200)]
    widths = [froc(detections(seed=seed), num_bootstrap=200) for seed in range(20)]
    width = np.mean([result.cpm_high - result.cpm_low for result in widths])
    assert width == pytest.approx(2 * 1.96 * np.std(values), rel=0.25)


def test_the_same_seed_gives_the_same_interval():
    first, second, other = (froc(detections(), num_bootstrap=30, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.low, second.low)
    assert (first.low != other.low).any()
    assert first.rates == LUNA16_RATES


def test_without_lesions_there_is_no_curve():
    empty = np.empty(0)
    with pytest.raises(EvidenceError, match="needs lesions"):
        froc(Detections(empty, empty.astype(int), np.ones(2), np.zeros(2, int), 3))
