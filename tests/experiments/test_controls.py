import json
from dataclasses import replace

import pytest

from experiments import controls
from mlp_med.evidence.controls import NAMES, ControlOutcome, write_record


@pytest.fixture
def now(tmp_path, monkeypatch):
    """The digests that the record holds for, by what they are of."""
    digests = controls.digests_now()
    outcomes = [ControlOutcome(name, True, "as expected") for name in NAMES]
    path = tmp_path / "controls.json"
    path.write_text(json.dumps(write_record("make controls", outcomes, digests, {})))
    monkeypatch.setattr(controls, "SMALL", replace(controls.SMALL, record=path))
    absent = replace(controls.FULL, record=tmp_path / "absent.json")
    monkeypatch.setattr(controls, "PAIRS", {"small": controls.SMALL, "full": absent})
    return digests


def plan(dataset: str, code: str, common: str, size: str = "small") -> dict:
    return {
        "size": size,
        "dataset": {"name": dataset},
        "code_digest": code,
        "common_code_digest": common,
    }


def test_a_study_of_ct_needs_the_controls_of_its_builder(now):
    common, code = now[controls.TRAINING], now[controls.TRAINING_AND_BUILDER]
    assert controls.recorded_controls(plan("luna16", code, common)).status == "passed"
    stale = controls.recorded_controls(plan("luna16", "another", common))
    assert stale.status == "stale"
    assert "another version of the training code or of the builder luna16" in stale.reason


def test_a_study_of_other_data_needs_those_of_the_code_that_datasets_share(now):
    common = now[controls.TRAINING]
    other = plan("metastasis_patches", "its own", common)
    assert controls.recorded_controls(other).status == "passed"
    other["common_code_digest"] = "another"
    assert controls.recorded_controls(other).status == "stale"
    del other["common_code_digest"]  # of a ledger from before there was one
    assert controls.recorded_controls(other).status == "stale"


def test_the_evidence_that_judges_is_part_of_it(now, monkeypatch):
    monkeypatch.setattr(controls, "evidence_digest", lambda: "another")
    study = plan("luna16", now[controls.TRAINING_AND_BUILDER], now[controls.TRAINING])
    assert "evidence code" in controls.recorded_controls(study).reason


def test_a_study_of_full_size_needs_controls_of_its_own_resolution(now):
    digests = now[controls.TRAINING_AND_BUILDER], now[controls.TRAINING]
    found = controls.recorded_controls(plan("luna16", *digests, size="full"))
    assert found.status == "missing"
    assert found.reason.endswith("run: make controls-full")


def test_each_pairs_fine_structure_is_shown_by_its_finest_voxels_alone():
    for pair in controls.PAIRS.values():
        finest, coarsest = pair.size.primary
        assert 2 * finest <= pair.fine_mm < 2 * coarsest
