import numpy as np
import pytest

from mlp_med.errors import EvidenceError
from mlp_med.evidence.resampling import bootstrap_covariance, patient_weights


def test_the_cases_of_a_patient_are_drawn_together_and_patients_sum_to_their_number():
    patients = np.array([0, 0, 1, 2, 2, 2, 3])
    labels = np.array([1, 0, 1, 0, 1, 0, 0], bool)
    weights = patient_weights(labels, patients, 200, seed=0)
    first = [0, 2, 3, 6]
    np.testing.assert_array_equal(weights, weights[first][patients])
    assert (weights[first].sum(axis=0) == 4).all()
    assert len(np.unique(weights, axis=1).T) > 10
    np.testing.assert_array_equal(weights, patient_weights(labels, patients, 200, seed=0))


@pytest.mark.parametrize("scarce", [True, False])
def test_a_resample_without_one_class_is_drawn_again(scarce):
    labels = np.array([scarce] * 2 + [not scarce] * 8)
    weights = patient_weights(labels, np.arange(10), 300, seed=1)
    assert weights.shape == (10, 300)
    assert weights[labels].any(axis=0).all()
    assert weights[~labels].any(axis=0).all()
    scores = np.linspace(0, 1, 10)[None]
    assert np.isfinite(bootstrap_covariance(labels, scores, np.arange(10), 300, seed=1)).all()


def test_cases_of_a_single_class_are_refused_rather_than_drawn_for_ever():
    labels = np.zeros(50, bool)
    with pytest.raises(EvidenceError, match="too small"):
        patient_weights(labels, np.arange(50), 10, seed=0)


def test_every_resample_holds_a_pair_of_each_of_three_classes():
    labels, patients = np.arange(12) % 3, np.arange(12) // 2
    weights = patient_weights(labels, patients, 300, seed=1)
    for label in range(3):
        assert (weights[labels == label].sum(axis=0) > 0).all()
    scores = np.random.default_rng(0).random((2, 12, 3))
    assert np.isfinite(bootstrap_covariance(labels, scores, patients, 300, seed=1)).all()
