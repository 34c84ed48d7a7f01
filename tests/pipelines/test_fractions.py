from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_med.errors import DatasetError
from mlp_med.pipelines.arrays import Examples
from mlp_med.pipelines.fractions import take_fraction

NUM_PATIENTS, CASES_EACH = 40, 6
NUM_CASES = NUM_PATIENTS * CASES_EACH
PATIENTS = np.array([f"p{number:02d}" for number in range(NUM_PATIENTS)])
EXAMPLES = Examples(
    images=np.arange(NUM_CASES, dtype=np.int16).reshape(-1, 1, 1, 1),
    labels=(np.arange(NUM_CASES) % 2).astype(np.int8),
    ids=np.array([f"case{number:03d}" for number in range(NUM_CASES)]),
    patients=np.random.default_rng(0).permutation(np.repeat(PATIENTS, CASES_EACH)),
    strata={"diameter_mm": np.arange(NUM_CASES, dtype=np.float32)},
)
SEEDS = st.integers(0, 2**31 - 1)


@given(seed=SEEDS, fraction=st.floats(0.05, 1))
def test_patients_are_taken_whole_and_rows_stay_together(seed, fraction):
    part = take_fraction(EXAMPLES, fraction, seed=seed)
    kept = np.isin(EXAMPLES.patients, part.patients)
    assert part.ids.tolist() == EXAMPLES.ids[kept].tolist()
    numbers = part.images.ravel()
    assert part.ids.tolist() == [f"case{number:03d}" for number in numbers]
    assert part.labels.tolist() == (numbers % 2).tolist()
    assert part.strata["diameter_mm"].tolist() == numbers.tolist()
    assert abs(len(part) - fraction * NUM_CASES) <= CASES_EACH / 2


@given(seed=SEEDS)
def test_a_seeds_smaller_sets_lie_within_its_larger_ones(seed):
    sets = [set(take_fraction(EXAMPLES, f, seed=seed).ids) for f in (0.125, 0.25, 0.5, 1)]
    assert sets[0] < sets[1] < sets[2] < sets[3]
    assert len(sets[2]) == NUM_CASES / 2


def test_every_patient_is_as_likely_as_another():
    drawn = [take_fraction(EXAMPLES, 0.25, seed=seed) for seed in range(400)]
    counts = {patient: sum(patient in part.patients for part in drawn) for patient in PATIENTS}
    assert all(60 < count < 140 for count in counts.values()), counts  # 100 ± 4.6 SD


def test_all_of_it_is_the_very_same():
    assert take_fraction(EXAMPLES, 1.0, seed=3) is EXAMPLES


def test_cases_of_unknown_patients_are_taken_one_by_one():
    unknown = replace(EXAMPLES, patients=np.full(NUM_CASES, ""))
    part = take_fraction(unknown, 1 / 16, seed=0)
    assert len(part) == NUM_CASES / 16


def test_at_least_one_patient_is_taken():
    part = take_fraction(EXAMPLES, 1e-6, seed=0)
    assert len(set(part.patients)) == 1


def test_a_part_of_one_class_is_refused_with_its_size():
    by_patient = np.searchsorted(PATIENTS, EXAMPLES.patients) % 2
    examples = replace(EXAMPLES, labels=by_patient.astype(np.int8))
    with pytest.raises(DatasetError, match=r"1 of 40 patients with 6 cases, which lack a class"):
        take_fraction(examples, 0.02, seed=0)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5, float("nan")])
def test_what_is_no_fraction_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction of the training set"):
        take_fraction(EXAMPLES, fraction, seed=0)
