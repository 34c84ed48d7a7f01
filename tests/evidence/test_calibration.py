"""The intervals err no more often than they may, and this would be seen if they did."""

import dataclasses
import json

import pytest

from mlp_med.errors import EvidenceError
from mlp_med.evidence import calibration, contrast
from mlp_med.evidence.calibration import (
    CalibrationRecord,
    Setting,
    calibrate,
    evidence_digest,
    exact_interval,
    exceeding,
    read_record,
    settings,
    write_record,
)

FEW_SEEDS = Setting(3, (0.02, 0.02), 0.8, 60, 1)
UNEQUAL = Setting(3, (0.05, 0.005), 0.93, 100, 1)
SEVERAL_CROPS = Setting(5, (0.0, 0.0), 0.8, 40, 5)


def test_errors_at_the_margin_are_within_what_is_allowed():
    table = calibrate(300, chosen=[FEW_SEEDS, UNEQUAL, SEVERAL_CROPS], num_bootstrap=60, seed=1)
    assert exceeding(table).empty
    assert (table["coverage_high"] >= 0.95).all()
    assert (table["false_supported"] + table["false_refuted"]).sum() > 0  # not infinitely wide


def test_an_interval_without_the_seeds_variance_is_found_out(monkeypatch):
    split = contrast.arm_variance

    def without_seeds(*arguments):
        arm = split(*arguments)
        return dataclasses.replace(
            arm, between_seed_variance=arm.patient_variance, probit_variance=0.0
        )

    monkeypatch.setattr(contrast, "arm_variance", without_seeds)
    varying = Setting(3, (0.05, 0.05), 0.8, 200, 1)
    assert len(exceeding(calibrate(150, chosen=[varying, UNEQUAL], num_bootstrap=60))) == 2


def test_an_interval_without_the_patients_variance_is_found_out(monkeypatch):
    covariance = contrast.bootstrap_covariance
    monkeypatch.setattr(contrast, "bootstrap_covariance", lambda *of: covariance(*of) * 0.01)
    assert len(exceeding(calibrate(100, chosen=[SEVERAL_CROPS], num_bootstrap=60))) == 1


def test_a_symmetric_interval_is_found_out_where_aucs_are_skewed(monkeypatch):
    from mlp_med.evidence import variance

    monkeypatch.setattr(variance, "_skewed_interval", lambda *of: (of[3], of[3]))
    assert len(exceeding(calibrate(300, chosen=[UNEQUAL], num_bootstrap=60))) == 1


def test_the_record_holds_every_setting_that_was_asked_for():
    chosen = settings()
    assert len(set(chosen)) == len(chosen)
    assert {setting.num_seeds for setting in chosen} == {3, 5, 10}
    assert {sd for setting in chosen for sd in setting.seed_sd} >= {0, 0.01, 0.02, 0.05}
    assert any(setting.max_cases_per_patient > 1 for setting in chosen)
    assert any(setting.num_patients <= 40 for setting in chosen)


def test_the_table_does_not_depend_on_the_number_of_processes():
    chosen = [FEW_SEEDS, SEVERAL_CROPS]
    one = calibrate(4, chosen=chosen, num_bootstrap=20)
    two = calibrate(4, chosen=chosen, num_bootstrap=20, num_processes=2)
    assert one.equals(two)


def test_exact_intervals_of_known_rates():
    # Clopper & Pearson's closed forms at the ends: (α/2)^(1/n)
    assert exact_interval(0, 20) == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    assert exact_interval(20, 20) == (pytest.approx(0.025 ** (1 / 20)), 1.0)


@pytest.fixture
def record():
    table = calibrate(4, chosen=[FEW_SEEDS], num_bootstrap=20)
    return CalibrationRecord(evidence_digest(), "the command", 1.5, table)


def test_a_record_is_read_as_it_was_written(record, tmp_path):
    path = tmp_path / "calibration.json"
    write_record(record, path)
    found = read_record(path)
    assert found.table["coverage"].tolist() == record.table["coverage"].tolist()
    assert (found.digest, found.command, found.seconds) == (
        record.digest,
        record.command,
        record.seconds,
    )
    assert not found.stale
    assert dataclasses.replace(found, digest="older").stale


def test_another_number_of_resamples_is_another_digest(monkeypatch):
    before = evidence_digest()
    monkeypatch.setattr(calibration, "NUM_BOOTSTRAP", 7)
    assert evidence_digest() != before


def test_a_docstring_does_not_make_a_record_stale():
    import ast

    code = 'def f():\n    """Says {}."""\n    # a comment\n    return 1\n'
    first, second = (
        ast.unparse(calibration._without_docstrings(ast.parse(code.format(word))))
        for word in ("this", "that")
    )
    assert first == second
    assert "return 1" in first


@pytest.mark.parametrize("content", ["no json", "{}", json.dumps({"settings": []})])
def test_what_is_no_record_is_refused(content, tmp_path):
    path = tmp_path / "calibration.json"
    assert read_record(path) is None
    path.write_text(content)
    with pytest.raises(EvidenceError, match="make it again"):
        read_record(path)
