from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from mlp_med.evidence.interaction import interaction
from mlp_med.evidence.simulation import SimulatedStudy, simulate_arms
from mlp_med.evidence.table import effect_by_stratum

STUDY = SimulatedStudy(effect=0.05, auc=0.85, num_patients=200, seed_sd=(0.01, 0.01))


def with_sizes(study=STUDY, seed=0, lost=0.0):
    """Two arms; `lost`, in probits, is what the positives of the small half lose in arm b."""
    a, b = simulate_arms(study, seed)
    ids = np.array(sorted(a["id"].unique()))
    sizes = dict(zip(ids, np.random.default_rng([seed, 1]).uniform(3, 9, len(ids)), strict=True))
    a, b = (arm.assign(diameter_mm=arm["id"].map(sizes)) for arm in (a, b))
    small = (b["diameter_mm"] < 6) & (b["label"] == 1)
    lowered = ndtr(ndtri(b["score"].to_numpy(np.float64)) - lost)
    return a, b.assign(score=np.where(small, lowered, b["score"]))


def found_in(a, b, num_bootstrap=200, positives_only=True):
    strata = effect_by_stratum(
        a,
        b,
        "diameter_mm",
        edges=[3, 6, 9],
        positives_only=positives_only,
        num_bootstrap=50,
        seed=0,
    )
    options = {"positives_only": positives_only, "num_bootstrap": num_bootstrap, "seed": 1}
    return interaction(a, b, strata, **options), strata


@pytest.mark.parametrize("positives_only", [True, False])
def test_it_is_the_difference_of_the_strata_that_the_table_shows(positives_only):
    found, strata = found_in(*with_sizes(lost=0.5), positives_only=positives_only)
    shown = strata[0].contrast.effect - strata[-1].contrast.effect
    assert found.difference == pytest.approx(shown)
    assert found.ci_low < shown < found.ci_high
    assert found.column == "diameter_mm"


def test_of_words_it_is_what_it_is_of_the_numbers_that_they_stand_for():
    arms = [
        arm.assign(size=np.where(arm["diameter_mm"] < 6, "below 6 mm", "the others"))
        for arm in with_sizes(lost=0.5)
    ]
    by_number, _ = found_in(*arms, positives_only=False)
    strata = effect_by_stratum(*arms, "size", num_bootstrap=50, seed=0)
    found = interaction(*arms, strata, positives_only=False, num_bootstrap=200, seed=1)
    assert (found.first.word, found.last.word) == ("below 6 mm", "the others")
    named = {"column": "diameter_mm", "first": by_number.first, "last": by_number.last}
    assert replace(found, **named) == by_number


def of_sites(arms, names):
    arms = [arm.assign(site=arm["diameter_mm"].map(names)) for arm in arms]
    strata = effect_by_stratum(*arms, "site", num_bootstrap=50, seed=0)
    return interaction(*arms, strata, positives_only=False, num_bootstrap=50, seed=1)


def test_among_three_words_none_is_first():
    arms = with_sizes()
    assert of_sites(arms, lambda size: "AB"[int(size > 6)]) is not None
    assert of_sites(arms, lambda size: "ABC"[int((size - 3) // 2.01)]) is None


def test_a_stratum_without_an_effect_is_no_end():
    """One case of the lowest grade leaves the others to be told apart."""
    arms = with_sizes()
    lone = arms[0]["diameter_mm"].min()
    found = of_sites(arms, lambda size: 0 if size == lone else 1 if size < 6 else 2)
    assert (found.first.low, found.last.low) == (1, 2)


def test_the_arms_swapped_turn_it_round():
    a, b = with_sizes(lost=0.5)
    found, swapped = found_in(a, b)[0], found_in(b, a)[0]
    assert swapped.difference == pytest.approx(-found.difference)
    assert swapped.p_value == pytest.approx(found.p_value, rel=0.3)


def test_it_seldom_finds_what_is_not_there_and_mostly_what_is():
    nothing = [found_in(*with_sizes(seed=seed), 100)[0].p_value for seed in range(60)]
    # 5 % of 60, and three of its standard errors.
    assert np.mean(np.array(nothing) < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)
    assert np.median(nothing) > 0.3
    something = [found_in(*with_sizes(seed=seed, lost=0.6), 100)[0] for seed in range(20)]
    assert np.mean([found.ci_low > 0 for found in something]) > 0.8


def test_where_it_cannot_be_told_nothing_is_said():
    a, b = with_sizes()
    strata = found_in(a, b)[1]
    options = {"positives_only": True, "seed": 0}
    assert interaction(a, b, strata[:1], **options) is None
    one_seed = [arm[arm["seed"] == 0] for arm in (a, b)]
    assert interaction(*one_seed, strata, **options) is None
    too_few = [strata[0], replace(strata[1], contrast=None)]
    assert interaction(a, b, too_few, **options) is None
    assert interaction(a, a, strata, **options) is not None
