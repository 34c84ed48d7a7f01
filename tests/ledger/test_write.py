import json

import numpy as np
import pandas as pd
import pytest

from mlp_med.errors import LedgerError
from mlp_med.ledger import study_run, write
from mlp_med.ledger.read import find_studies, load_crops, load_predictions, read_cell, read_study
from tests.ledger.synthetic import DATASET, cell_params, plan, predictions


@pytest.fixture
def study(ledger):
    return study_run.start_study(ledger, "resolution", "hash0", plan(), {"size": "small"})


def start(ledger, study, resolution=1.25, seed=0):
    return write.start_cell(
        ledger,
        study,
        cell_params(resolution, seed),
        f"{resolution}-{seed}",
        f"{resolution}mm",
        {"commit": "abc", "version.tensorflow": "2.21"},
        DATASET,
    )


def test_a_study_is_found_again_by_its_hash(ledger, study):
    again = study_run.start_study(ledger, "resolution", "hash0", plan(3), {"size": "small"})
    other = study_run.start_study(ledger, "resolution", "hash1", plan(), {"size": "full"})
    assert again == study != other
    assert len(read_study(ledger, study).cells) == 6
    assert find_studies(ledger, "resolution") == [other, study]


def test_a_plan_without_hashes_is_refused(ledger):
    with pytest.raises(LedgerError, match="hash, arm and params"):
        study_run.start_study(ledger, "s", "h", {"cells": [{"arm": "x"}]}, {})


def test_a_cell_is_a_child_run_that_sorts_and_compares_in_mlflow(ledger, study):
    run = ledger.client.get_run(start(ledger, study))
    assert run.data.tags["mlflow.parentRunId"] == study
    assert run.info.run_name == "1.25mm, seed 0"
    assert run.data.params["augment"] == "True"
    assert set(run.data.params) == set(cell_params())
    assert run.data.metrics == {
        "resolution": 1.25,
        "learning_rate": 0.001,
        "budget_examples": 640,
        "seed": 0,
    }
    assert run.data.tags["mlflow.source.git.commit"] == "abc"
    (dataset_input,) = run.inputs.dataset_inputs
    assert dataset_input.dataset.digest == "d" * 36
    assert json.loads(dataset_input.dataset.source) == {"uri": "/data/luna16"}


def test_artifacts_lie_beside_the_database_wherever_the_process_stands(
    ledger, study, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run_id = start(ledger, study)
    write.finish_cell(ledger, run_id, {"test_auc": 0.9}, predictions())
    assert not list(elsewhere.iterdir())
    assert (ledger.artifact_root / run_id / "artifacts" / "predictions.parquet").is_file()


def test_done_is_written_last(ledger, study, monkeypatch):
    run_id = start(ledger, study)
    calls = []
    for name in ("log_artifact", "log_batch", "set_terminated", "set_tag"):
        monkeypatch.setattr(
            type(ledger.client), name, lambda *_, name=name, **__: calls.append(name)
        )
    write.finish_cell(ledger, run_id, {"test_auc": 0.9}, predictions())
    assert calls[-1] == "set_tag"
    assert set(calls[:-1]) == {"log_artifact", "log_batch", "set_terminated"}


def test_a_finished_cell_gives_its_predictions_back(ledger, study):
    run_id = start(ledger, study)
    write.finish_cell(ledger, run_id, {"test_auc": 0.9}, predictions())
    pd.testing.assert_frame_equal(load_predictions(ledger, run_id), predictions())
    assert ledger.client.get_run(run_id).info.status == "FINISHED"
    assert read_cell(ledger, run_id).metrics["test_auc"] == 0.9


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("label", 2, "a label other than 0 or 1"),
        ("score", np.nan, "not finite"),
        ("id", "same", "id twice"),
        ("seed", list(range(20)), "several seeds"),
    ],
)
def test_bad_predictions_leave_the_cell_running(ledger, study, column, value, problem):
    run_id = start(ledger, study)
    with pytest.raises(LedgerError, match=problem):
        write.finish_cell(ledger, run_id, {}, predictions().assign(**{column: value}))
    assert read_cell(ledger, run_id).state == "running"


def test_predictions_need_rows_and_columns(ledger, study):
    run_id = start(ledger, study)
    for bad, problem in (
        (predictions().iloc[:0], "no rows"),
        (predictions().drop(columns="patient"), "lacks patient"),
    ):
        with pytest.raises(LedgerError, match=problem):
            write.finish_cell(ledger, run_id, {}, bad)


def test_a_metric_that_is_not_finite_is_refused(ledger, study):
    run_id = start(ledger, study)
    with pytest.raises(LedgerError, match="finite metrics"):
        write.finish_cell(ledger, run_id, {"test_auc": float("nan")}, predictions())
    curve = pd.DataFrame({"examples_seen": [1], "train_loss": [np.inf]})
    with pytest.raises(LedgerError, match="infinity"):
        write.log_curve(ledger, run_id, curve)
    assert read_cell(ledger, run_id).state == "running"


def test_a_failure_is_typed_and_its_message_is_cut(ledger, study):
    run_id = start(ledger, study)
    write.fail_cell(ledger, run_id, "non_finite_loss", "x" * 9000, metrics={"peak_memory_bytes": 5})
    cell = read_cell(ledger, run_id)
    assert (cell.state, cell.failure.kind, len(cell.failure.message)) == (
        "failed",
        "non_finite_loss",
        2000,
    )
    assert cell.metrics["peak_memory_bytes"] == 5
    assert ledger.client.get_run(run_id).info.status == "FAILED"


def test_an_infeasible_cell_is_not_a_failed_one(ledger, study):
    run_id = start(ledger, study)
    write.fail_cell(ledger, run_id, "memory", "needs 400 GiB", state="infeasible")
    assert read_cell(ledger, run_id).state == "infeasible"


def test_what_a_killed_study_left_running_becomes_interrupted(ledger, study):
    done, left = start(ledger, study), start(ledger, study, 5.0)
    write.finish_cell(ledger, done, {"test_auc": 0.9}, predictions())
    assert write.mark_interrupted(ledger, study) == ["5.0-0"]
    assert read_cell(ledger, left).failure.kind == "interrupted"
    assert ledger.client.get_run(left).info.status == "KILLED"
    assert read_cell(ledger, done).state == "done"
    assert write.mark_interrupted(ledger, study) == []


def test_a_study_is_finished_and_runs_again_when_started_again(ledger, study):
    study_run.finish_study(ledger, study)
    assert ledger.client.get_run(study).info.status == "FINISHED"
    study_run.start_study(ledger, "resolution", "hash0", plan(), {})
    assert ledger.client.get_run(study).info.status == "RUNNING"


def test_the_report_becomes_artifacts_of_the_study(ledger, study, tmp_path):
    page = tmp_path / "index.html"
    page.write_text("<p>a page")
    metrics = {"effect": 0.02, "ci_low": float("nan")}
    study_run.log_report(ledger, study, [page], tags={"verdict": "supported"}, metrics=metrics)
    kept = ledger.client.list_artifacts(study, "report")
    assert [artifact.path for artifact in kept] == ["report/index.html"]
    record = read_study(ledger, study)
    assert record.tags["verdict"] == "supported"
    assert ledger.client.get_run(study).data.metrics == {"effect": 0.02}


def test_a_deleted_experiment_is_named_with_the_way_back(ledger, study):
    ledger.client.delete_experiment(ledger.client.get_run(study).info.experiment_id)
    with pytest.raises(LedgerError, match="mlflow experiments restore"):
        study_run.start_study(ledger, "resolution", "hash0", plan(), {})


def test_the_example_crops_are_kept_with_the_study(ledger, study):
    assert load_crops(ledger, study) is None
    study_run.log_crops(ledger, study, b"\x89PNG")
    assert load_crops(ledger, study) == b"\x89PNG"


def test_a_cell_of_three_classes_keeps_a_score_a_class(ledger, study):
    two = predictions()
    scores = np.random.default_rng(0).dirichlet([1, 1, 1], len(two)).astype(np.float32)
    three = two.drop(columns="score").assign(
        label=np.arange(len(two)) % 3, **{f"score_{k}": scores[:, k] for k in range(3)}
    )
    run_id = start(ledger, study)
    for wrong, problem in (
        (three.assign(label=3), "a label other than 0 or 1 or 2"),
        (three.assign(score_1=np.nan), "not finite"),
        (three.drop(columns="score_0"), "lacks score_0"),
    ):
        with pytest.raises(LedgerError, match=problem):
            write.finish_cell(ledger, run_id, {}, wrong)
    write.finish_cell(ledger, run_id, {"test_auc": 0.5}, three)
    pd.testing.assert_frame_equal(load_predictions(ledger, run_id), three)
