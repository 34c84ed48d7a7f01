import json
import re

import numpy as np
import pytest

from mlp_med.evidence.foreign_columns import NO_WORD
from mlp_med.evidence.simulation import SimulatedStudy, simulate_arms
from mlp_med.reports.formatting import NOT_KNOWN
from mlp_med.reports.strata import Property, break_down, interaction_rows, stratum_rows

STUDY = SimulatedStudy(effect=0.05, auc=0.85, num_patients=300)


def arms_with(words, of_positives=False):
    """Two arms whose cases have a kind: one of these words, by chance."""
    a, b = simulate_arms(STUDY, 0)
    ids = a["id"].unique()
    drawn = np.random.default_rng(0).choice(words, len(ids))
    kinds = dict(zip(ids, drawn, strict=True))
    arms = [arm.assign(kind=arm["id"].map(kinds)) for arm in (a, b)]
    if not of_positives:
        return arms
    return [arm.assign(kind=arm["kind"].where(arm["label"] == 1, NO_WORD)) for arm in arms]


def by_kind(arms):
    return break_down(*arms, {"kind": Property("scanner", unknown=NO_WORD)})


def test_among_three_words_one_test_is_made_and_told():
    strata = by_kind(arms_with(["CT1", "CT2", "CT3"]))
    assert [row[1] for row in stratum_rows(strata)] == ["CT1", "CT2", "CT3"]
    ((label, of, difference, interval, p_value),) = interaction_rows(strata)
    assert label == "scanner"
    assert re.fullmatch(r"among CT1, CT2, CT3: F \d+\.\d\d on 1\.\d and \d+\.\d degrees .*", of)
    assert difference == interval == NOT_KNOWN
    assert 0 < float(p_value) <= 1
    (written,) = json.loads(json.dumps(strata.to_dict()))["heterogeneities"]
    assert written["strata"] == [{"word": "CT1"}, {"word": "CT2"}, {"word": "CT3"}]
    assert written["p_value"] == pytest.approx(float(p_value), abs=5e-4)
    assert strata.tested == {"kind"}


def test_of_two_words_one_is_set_against_the_other():
    strata = by_kind(arms_with(["CT1", "CT2"]))
    assert not strata.heterogeneities
    ((_, of, difference, *_),) = interaction_rows(strata)
    assert of == "CT1 minus CT2"
    assert difference != NOT_KNOWN


def test_a_kind_of_lesions_sets_its_cases_against_all_of_label_0():
    strata = by_kind(arms_with(["mass", "calcification"], of_positives=True))
    assert strata.of_positives == ["scanner"]
    assert not strata.notes
    found = strata.effects["kind"]
    assert [effect.stratum.word for effect in found] == ["calcification", "mass"]
    num_negative = int((arms_with(["x"])[0].drop_duplicates("id")["label"] == 0).sum())
    assert all(effect.contrast.num_cases == num_negative + effect.num_cases for effect in found)


def test_a_case_without_a_kind_among_others_of_its_label_is_in_no_stratum():
    strata = by_kind(arms_with(["CT1", "CT2", NO_WORD]))
    assert [effect.stratum.word for effect in strata.effects["kind"]] == ["CT1", "CT2"]
    assert "not known" in strata.notes[0]
