from dataclasses import replace

import numpy as np
import pytest

from mlp_med.evidence.heterogeneity import heterogeneity
from mlp_med.evidence.interaction import interaction
from mlp_med.evidence.simulation import SimulatedStudy, simulate_arms
from mlp_med.evidence.table import effect_by_stratum

STUDY = SimulatedStudy(effect=0.05, auc=0.85, num_patients=300, seed_sd=(0.01, 0.01))
OPTIONS = {"positives_only": False, "num_bootstrap": 100, "seed": 1}


def by_scanner(names, seed=0, study=STUDY, shares=None):
    """Two arms whose cases come from scanners by these names, whatever the effect."""
    a, b = simulate_arms(study, seed)
    ids = np.array(sorted(a["id"].unique()))
    scanners = np.random.default_rng([seed, 1]).choice(list(names), len(ids), p=shares)
    of_case = dict(zip(ids, scanners, strict=True))
    return [arm.assign(scanner=arm["id"].map(of_case)) for arm in (a, b)]


def spoilt(arms, scanner, share):
    """The same with arm b's scores of one scanner replaced by noise in this share of its cases."""
    a, b = arms
    rng = np.random.default_rng(5)
    hit = (b["scanner"] == scanner) & (rng.random(len(b)) < share)
    return [a, b.assign(score=np.where(hit, rng.random(len(b)), b["score"]))]


def strata_of(arms):
    return effect_by_stratum(*arms, "scanner", num_bootstrap=20, seed=0)


def found_in(arms, **options):
    return heterogeneity(*arms, strata_of(arms), **{**OPTIONS, **options})


@pytest.mark.parametrize("seed", range(4))
def test_of_two_it_is_the_square_of_the_test_for_interaction(seed):
    arms = spoilt(by_scanner("AB", seed), "A", 0.3)
    found = found_in(arms)
    one_by_one = interaction(*arms, strata_of(arms), **OPTIONS)
    assert found.p_value == pytest.approx(one_by_one.p_value, rel=1e-6)
    assert found.degrees_of_freedom[0] == pytest.approx(1)


def test_names_and_their_order_change_nothing():
    arms = spoilt(by_scanner("ABC"), "B", 0.3)
    others = {"A": "Z", "B": "X", "C": "Y"}
    renamed = [arm.assign(scanner=arm["scanner"].map(others)) for arm in arms]
    found, other = found_in(arms), found_in(renamed)
    assert other.statistic == pytest.approx(found.statistic)
    assert other.p_value == pytest.approx(found.p_value)
    assert [stratum.word for stratum in found.strata] == ["A", "B", "C"]


def test_the_arms_swapped_change_nothing_but_chance():
    a, b = spoilt(by_scanner("ABC"), "B", 0.3)
    found, swapped = found_in([a, b]), found_in([b, a])
    assert swapped.statistic == pytest.approx(found.statistic, rel=1e-6)


def test_it_seldom_finds_what_is_not_there_and_mostly_what_is():
    nothing = np.array([found_in(by_scanner("ABCD", seed)).p_value for seed in range(40)])
    # 5 % of 40, and three of its standard errors.
    assert np.mean(nothing < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)
    assert np.median(nothing) > 0.3
    something = [found_in(spoilt(by_scanner("ABCD", seed), "C", 0.6)).p_value for seed in range(20)]
    assert np.mean(np.array(something) < 0.05) > 0.8


def test_few_seeds_and_many_scanners_are_no_reason_to_find_nothing():
    study = replace(STUDY, num_patients=600, num_seeds=(3, 3))
    found = [found_in(spoilt(by_scanner("ABCDE", seed, study), "C", 0.4)) for seed in range(10)]
    assert np.mean([each.p_value < 0.05 for each in found]) > 0.6
    # Of a trace over several contrasts more is known than of one number a network.
    assert np.median([each.degrees_of_freedom[1] for each in found]) > 25


def test_a_scanner_of_a_handful_of_patients_hides_no_difference_of_the_others():
    arms = spoilt(by_scanner("ABC", shares=[0.485, 0.485, 0.03]), "A", 0.5)
    found = found_in(arms)
    assert [stratum.word for stratum in found.strata] == ["A", "B"]
    assert found.p_value < 0.01


def test_a_scanner_of_a_few_patients_more_hides_little_either():
    study, shares = replace(STUDY, num_patients=600), [0.475, 0.475, 0.05]
    found = [found_in(spoilt(by_scanner("ABC", s, study, shares), "A", 0.2)) for s in range(8)]
    assert max(len(each.strata) for each in found) == 3
    assert np.mean([each.p_value < 0.05 for each in found]) > 0.8


def test_degrees_of_freedom_are_no_more_than_the_data_give():
    found = found_in(by_scanner("ABCDE"))
    above, below = found.degrees_of_freedom
    assert 1 <= above <= 4
    assert 4 <= below <= 2 * 4 + STUDY.num_patients - 1


def test_where_it_cannot_be_told_nothing_is_said():
    arms = by_scanner("ABC")
    strata = strata_of(arms)
    one_seed = [arm[arm["seed"] == 0] for arm in arms]
    assert heterogeneity(*one_seed, strata, **OPTIONS) is None
    assert heterogeneity(*arms, strata[:1], **OPTIONS) is None
    lone = [replace(stratum, contrast=None) for stratum in strata[1:]]
    assert heterogeneity(*arms, [strata[0], *lone], **OPTIONS) is None


def test_a_scanner_without_an_effect_is_left_out():
    arms = spoilt(by_scanner("ABC"), "A", 0.3)
    strata = strata_of(arms)
    found = heterogeneity(*arms, [replace(strata[0], contrast=None), *strata[1:]], **OPTIONS)
    assert [stratum.word for stratum in found.strata] == ["B", "C"]
