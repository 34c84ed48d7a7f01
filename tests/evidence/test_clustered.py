import numpy as np
import pytest
from scipy.stats import norm

from mlp_med.errors import EvidenceError
from mlp_med.evidence.clustered import (
    delong_covariance,
    fewest_patients,
    macro_covariance,
    obuchowski_covariance,
    structural_components,
)
from mlp_med.evidence.metrics import aucs
from mlp_med.evidence.resampling import bootstrap_covariance


def draw(seed, num_patients=250, cases_each=1, num_vectors=3):
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(num_patients), cases_each)
    labels = rng.random(len(patients)) < 0.4
    common = 1.5 * labels + rng.standard_normal(num_patients)[patients]
    scores = common + rng.standard_normal((num_vectors, len(patients)))
    return labels, scores, patients


def test_delong_of_a_case_worked_by_hand():
    # positives 3, 2 and negatives 1, 2: components (1, ¾) and (1, ¾), so AUC ⅞
    labels = np.array([True, True, False, False])
    found, covariance = delong_covariance(labels, np.array([[3.0, 2.0, 1.0, 2.0]]))
    assert found[0] == pytest.approx(7 / 8)
    assert covariance[0, 0] == pytest.approx(2 * (1 / 32) / 2)


def test_the_components_average_to_the_auc():
    labels, scores, _ = draw(0)
    scores = scores.round(1)
    for folds in (None, np.arange(len(labels)) % 7 // 2):
        found = structural_components(labels, scores, folds)
        np.testing.assert_allclose(found.positives.mean(axis=1), aucs(labels, scores, folds))
        np.testing.assert_allclose(found.negatives.mean(axis=1), aucs(labels, scores, folds))
        assert found.positive_chances.mean() == pytest.approx(1)
        assert found.negative_chances.mean() == pytest.approx(1)
        assert all(abs(each.mean()) < 1e-12 for each in found.deviations)


def test_obuchowski_with_one_case_a_patient_is_delong():
    labels, scores, patients = draw(1)
    np.testing.assert_allclose(
        obuchowski_covariance(labels, scores, patients)[1], delong_covariance(labels, scores)[1]
    )


def test_delong_agrees_with_the_bootstrap():
    labels, scores, patients = draw(2, num_patients=500)
    found = bootstrap_covariance(labels, scores, patients, 4000, seed=0)
    np.testing.assert_allclose(found, delong_covariance(labels, scores)[1], rtol=0.12)


def test_obuchowski_agrees_with_the_cluster_bootstrap():
    labels, scores, patients = draw(3, num_patients=250, cases_each=4)
    found = bootstrap_covariance(labels, scores, patients, 4000, seed=0)
    expected = obuchowski_covariance(labels, scores, patients)[1]
    np.testing.assert_allclose(found, expected, rtol=0.12)


def test_with_folds_both_agree_with_the_bootstrap():
    labels, scores, patients = draw(6, num_patients=300, cases_each=3)
    # Folds of unequal size and share of positives, each on a scale of its own.
    folds = np.searchsorted([30, 130], patients, side="right")
    labels = labels | (folds == 0) & (np.arange(len(labels)) % 2 == 0)
    scores = scores + 3.0 * folds
    found = bootstrap_covariance(labels, scores, patients, 4000, 0, folds)
    expected = obuchowski_covariance(labels, scores, patients, folds)[1]
    np.testing.assert_allclose(found, expected, rtol=0.12)
    labels, scores, patients = draw(7, num_patients=600)
    folds = np.searchsorted([60, 260], patients, side="right")
    found = bootstrap_covariance(labels, scores, patients, 4000, 0, folds)
    np.testing.assert_allclose(found, delong_covariance(labels, scores, folds)[1], rtol=0.12)


def test_delong_gives_the_spread_over_repeated_studies():
    draws = [draw(seed, num_patients=100, num_vectors=2) for seed in range(400)]
    found = [delong_covariance(labels, scores) for labels, scores, _ in draws]
    differences = np.array([auc[0] - auc[1] for auc, _ in found])
    predicted = np.mean([c[0, 0] + c[1, 1] - 2 * c[0, 1] for _, c in found])
    assert differences.var() == pytest.approx(predicted, rel=0.2)
    assert np.mean([auc[0] for auc, _ in found]) == pytest.approx(norm.cdf(1.5 / 2), abs=0.01)


def test_doubling_every_case_within_its_patient_tells_obuchowski_nothing_but_fools_delong():
    labels, scores, patients = draw(4)
    twice = np.repeat(np.arange(len(labels)), 2)
    once = obuchowski_covariance(labels, scores, patients)[1]
    doubled = obuchowski_covariance(labels[twice], scores[:, twice], patients[twice])[1]
    np.testing.assert_allclose(doubled, once)
    naive = delong_covariance(labels[twice], scores[:, twice])[1]
    np.testing.assert_allclose(naive, delong_covariance(labels, scores)[1] / 2, rtol=0.02)


def test_a_class_in_a_single_patient_is_refused():
    labels, scores, _ = draw(5, num_patients=10)
    with pytest.raises(EvidenceError, match="at least two of each"):
        obuchowski_covariance(labels, scores, labels.astype(int))


def draw_three(seed, num_patients=250, cases_each=2, num_vectors=3):
    """Each class has a direction of its own; the cases of a patient lie near each other."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(num_patients), cases_each)
    labels = rng.choice(3, p=[0.5, 0.2, 0.3], size=len(patients))
    common = np.eye(3)[labels] + rng.standard_normal((num_patients, 3))[patients]
    return labels, common + rng.standard_normal((num_vectors, len(patients), 3)), patients


@pytest.mark.parametrize("cases_each", [1, 4])
def test_of_three_classes_it_agrees_with_the_bootstrap(cases_each):
    labels, scores, patients = draw_three(8, cases_each=cases_each)
    folds = np.searchsorted([60, 150], patients, side="right")
    for of in (None, folds):
        found = bootstrap_covariance(labels, scores, patients, 4000, 0, of)
        macro, expected = macro_covariance(labels, scores, patients, of)
        np.testing.assert_allclose(macro, aucs(labels, scores, of))
        np.testing.assert_allclose(found, expected, rtol=0.12)


def test_of_two_classes_it_is_obuchowski_s_but_for_the_small_sample_factors():
    labels, scores, patients = draw(9, cases_each=3)
    both = np.stack([-scores, scores], axis=-1)
    found = macro_covariance(labels.astype(int), both, patients)[1]
    expected = obuchowski_covariance(labels, scores, patients)[1]
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_the_scarcest_class_is_counted_in_patients():
    patients = np.repeat(np.arange(6), 2)
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 0, 2, 2, 1])
    assert fewest_patients(labels, patients) == 3
    assert fewest_patients(labels == 1, patients) == 3
    with pytest.raises(EvidenceError, match="at least two"):
        fewest_patients(np.where(labels == 2, 0, labels), np.where(labels == 1, 0, patients))
