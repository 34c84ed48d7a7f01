"""The report of a study of several claims, from a ledger whose truth is known."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from mlp_med.evidence.claim import Claim
from mlp_med.ledger import study_run, write
from mlp_med.ledger.read import read_study
from mlp_med.reports.several_report import write_several_report
from tests.ledger.copying import copied
from tests.reports.conftest import CONTROLS
from tests.reports.synthetic import cell_of, plan_of, predictions_of

SMALL, BEST, VERY_LARGE = "batch 2, equal examples", "batch 32, equal examples", "batch 80, loss"
BATCH = {SMALL: 2, BEST: 32, VERY_LARGE: 80}
# Signal of the scores by one of the synthetic arms, when the target is reached, and sharpness.
TRUTH = {SMALL: ("5mm", 5, 1.0), BEST: ("1.25mm", 2, 1.0), VERY_LARGE: ("2.5mm", 2, 8.0)}
TARGET, NUM_SEEDS = 0.8, 5


def claim(name, primary, metric="auc", margin=0.01, target=None):
    return Claim(
        question="Do batches matter?",
        name=name,
        statement=f"claim {name}",
        margin=margin,
        primary=primary,
        metric=metric,
        target=target,
        secondary={"beside": (VERY_LARGE, SMALL)} if name == "a" else {},
    )


CLAIMS = (
    claim("a", (BEST, SMALL)),
    claim("b, seconds", (SMALL, BEST), "seconds_to_target", 0.05, TARGET),
    claim("d", (VERY_LARGE, BEST), "log_sharpness", 0.25),
)


def make(blank_database, folder, *, failed=(), reached=1.0, never=(), pilot=None, kind="killed"):
    """Writes such a study; `failed` and `never` name arms or (arm, seed)."""
    folder.mkdir(exist_ok=True)
    ledger = copied(blank_database, folder)
    plan = plan_of(
        asdict(CLAIMS[0]), claims=[asdict(each) for each in CLAIMS], pilot=pilot or {"arms": {}}
    )
    plan["name"] = "batch_size_matters"
    plan["cells"] = [
        {"hash": f"{arm}/{seed}", "arm": arm, "params": params_of(arm, seed)}
        for arm in TRUTH
        for seed in range(NUM_SEEDS)
    ]
    study = study_run.start_study(ledger, plan["name"], "study0", plan, {"phantom": "true"})
    for cell in plan["cells"]:
        arm, seed = cell["arm"], cell["params"]["seed"]
        dataset = write.DatasetInput("luna16/5mm", "d" * 64, "/data/luna16")
        run_id = write.start_cell(ledger, study, cell["params"], cell["hash"], arm, {}, dataset)
        if arm in failed or (arm, seed) in failed:
            write.fail_cell(ledger, run_id, kind, "it failed")
        else:
            finish(ledger, run_id, arm, seed, reached, is_short=arm in never)
    study_run.finish_study(ledger, study)
    return ledger, read_study(ledger, study)


def params_of(arm, seed):
    return cell_of("5mm", seed) | {"global_batch_size": BATCH[arm], "stop_at_training_loss": 0.1}


def finish(ledger, run_id, arm, seed, reached, *, is_short):
    like, first_met, phi = TRUTH[arm]
    rng = np.random.default_rng([seed, BATCH[arm]])
    seconds = np.arange(1, 11) * (1 + 0.02 * rng.random())
    met = (np.arange(1, 11) >= first_met) & (not is_short)
    curve = pd.DataFrame(
        {
            "examples_seen": np.arange(1, 11) * 100,
            "validation_auc": np.where(met, TARGET + 0.01, TARGET - 0.01),
            "seconds_elapsed": seconds,
        }
    )
    write.log_curve(ledger, run_id, curve)
    metrics = {
        "seconds_total": 20.0,
        "peak_memory_bytes": 6e8,
        "final_training_loss": 0.09,
        "reached_training_loss": reached,
        "sharpness_full_0.001": phi * np.exp(0.1 * rng.normal()),
        "sharpness_adaptive": 0.5,
        "critical_batch": 40.0,
    }
    write.finish_cell(ledger, run_id, metrics, predictions_of(like, seed))


@pytest.fixture
def report(blank_database, tmp_path, _undrawn):
    def write_it(**options):
        ledger, record = make(blank_database, tmp_path / "ledger", **options)
        paths = write_several_report(ledger, record, tmp_path / "out", controls=CONTROLS)
        verdict = json.loads(paths.verdict.read_text())
        return paths, {claim["name"]: claim for claim in verdict["claims"]}, verdict

    return write_it


def test_each_claim_has_a_verdict_of_its_own_corrected_for_the_others(report):
    paths, claims, verdict = report()
    assert verdict["correction"] == {"method": "Holm 1979", "error_rate": 0.05, "num_claims": 3}
    assert [claim["verdict"] for claim in claims.values()] == ["supported"] * 3
    for claim in claims.values():
        assert claim["p_value"] <= claim["adjusted_p_value"] <= min(1, 3 * claim["p_value"])
        assert claim["corrected_low"] <= claim["ci_low"] <= claim["effect"] <= claim["ci_high"]
        assert claim["n_seeds"] == NUM_SEEDS
    # 5 against 2 of about 5 seconds, the last time at which a run reached the target
    assert claims["b, seconds"]["effect"] == pytest.approx(3 / 5, abs=0.02)
    assert claims["b, seconds"]["horizon"] == pytest.approx(5, rel=0.02)
    assert np.exp(claims["d"]["effect"]) == pytest.approx(8, rel=0.2)
    page = paths.page.read_text()
    for claim in claims.values():
        assert claim["sentence"].startswith("On the phantom luna16")
        assert "one of 3 claims" in claim["sentence"]
    assert page.count('class="verdict supported"') == 3
    assert "Holm" in page
    assert "critical batch" in page
    assert page.count("<td>5 of 5</td>") == 6  # the target and the training loss, by arm
    assert all(figure.stat().st_size for figure in paths.figures)
    assert {"auc_by_batch.svg", "beside.png"} <= {figure.name for figure in paths.figures}


def test_the_same_ledger_gives_the_same_files(blank_database, tmp_path):
    ledger, record = make(blank_database, tmp_path / "ledger")
    first, again = (
        write_several_report(ledger, record, tmp_path / name, controls=CONTROLS)
        for name in ("first", "again")
    )
    assert first.page.read_bytes() == again.page.read_bytes()
    assert first.verdict.read_bytes() == again.verdict.read_bytes()


def test_no_cell_that_reaches_the_target_is_said_and_decides_nothing(report):
    _, claims, _ = report(never=(SMALL, BEST))
    assert claims["b, seconds"]["verdict"] is None
    assert (
        f"no cell of {SMALL} or {BEST} reached a validation AUC of 0.8"
        in claims["b, seconds"]["reason"]
    )
    assert claims["a"]["verdict"] == "supported"
    # it still counts among the claims that are corrected for
    assert claims["a"]["adjusted_p_value"] >= claims["a"]["p_value"]


def test_an_arm_that_never_reaches_it_is_slower_by_all_of_the_horizon(report):
    _, claims, _ = report(never=(SMALL,))
    assert claims["b, seconds"]["verdict"] == "supported"
    assert claims["b, seconds"]["horizon"] == pytest.approx(10, rel=0.02)
    assert claims["b, seconds"]["effect"] == pytest.approx(0.8, abs=0.02)


def test_every_cell_of_an_arm_failed(report):
    paths, claims, _ = report(failed=(VERY_LARGE,))
    assert claims["d"]["reason"] == f"every cell of {VERY_LARGE} failed (killed)"
    assert [claims[name]["verdict"] for name in ("a", "b, seconds")] == ["supported"] * 2
    assert "it failed" in paths.page.read_text()


def test_without_a_single_done_cell_there_is_a_report_all_the_same(report):
    paths, claims, verdict = report(failed=tuple(TRUTH))
    assert {claim["verdict"] for claim in claims.values()} == {None}
    assert all("every cell" in claim["reason"] for claim in claims.values())
    assert verdict["arms"] == []
    assert not paths.figures


def test_a_run_that_diverged_counts_in_the_times_and_has_no_auc(report):
    _, claims, _ = report(failed=((SMALL, 1),), kind="non_finite_loss")
    assert claims["a"]["reason"] == f"1 of 5 cells of {SMALL} diverged and have no auc"
    assert claims["b, seconds"]["verdict"] == "supported"
    assert claims["b, seconds"]["n_seeds"] == NUM_SEEDS  # nothing is dropped


def test_a_run_that_was_killed_has_to_run_again(report):
    _, claims, _ = report(failed=((SMALL, 1),))
    assert {claims[name]["reason"] for name in ("a", "b, seconds")} == {
        f"{SMALL} lacks seeds; finish the study first"
    }


def test_minima_of_another_training_loss_are_not_compared(report):
    _, claims, _ = report(reached=0.0)
    assert "5 of 5 cells of" in claims["d"]["reason"]
    assert "did not reach the training loss of 0.1" in claims["d"]["reason"]


def test_a_learning_rate_on_the_edge_of_its_grid_decides_nothing(report):
    found = {"on_edge": True, "learning_rate": 0.1, "grid": [[0.01, 0.7], [0.1, 0.8]]}
    settled = {"on_edge": False, "learning_rate": 0.1, "grid": [[0.1, 0.8]]}
    pilot = {"arms": {SMALL: found, BEST: settled}, "settings_of": {VERY_LARGE: BEST}}
    paths, claims, _ = report(pilot=pilot)
    for name in ("a", "b, seconds"):
        assert (
            f"the best learning rate of {SMALL} is the last of those tried (0.01, 0.1)"
            in (claims[name]["reason"])
        )
    assert claims["d"]["verdict"] == "supported"
    assert "0.01: 0.700, 0.1: 0.800" in paths.page.read_text()


def test_without_a_pilot_nothing_is_decided(blank_database, tmp_path):
    ledger, record = make(blank_database, tmp_path / "ledger")
    record.plan.update(pilot=None, pilot_command="make batch-pilot")
    paths = write_several_report(ledger, record, tmp_path / "out", controls=CONTROLS)
    assert paths.sentence.count("no pilot has chosen") == 3
    assert "run: make batch-pilot" in paths.sentence
