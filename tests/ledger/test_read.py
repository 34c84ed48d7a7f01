import numpy as np
import pandas as pd
import pytest

from mlp_med.errors import LedgerError
from mlp_med.ledger import names, runs, study_run, write
from mlp_med.ledger.read import load_curve, load_predictions, read_cell, read_study
from mlp_med.ledger.verify import fail_broken
from tests.faults import fault
from tests.ledger.synthetic import DATASET, cell_params, plan, predictions


@pytest.fixture
def study(ledger):
    tags = {"size": "small", "dataset": "luna16"}
    return study_run.start_study(ledger, "resolution", "hash0", plan(), tags)


def start(ledger, study, resolution=1.25, seed=0):
    params = cell_params(resolution, seed)
    arm = f"{resolution}mm"
    return write.start_cell(ledger, study, params, f"{resolution}-{seed}", arm, {}, DATASET)


def test_every_planned_cell_comes_back_once_in_the_order_of_the_plan(ledger, study):
    failed = start(ledger, study, 5.0, 0)
    write.fail_cell(ledger, failed, "killed", "by the kernel")
    done = start(ledger, study, 1.25, 0)
    write.finish_cell(ledger, done, {"test_auc": 0.9}, predictions())
    start(ledger, study, 5.0, 1)
    record = read_study(ledger, study)
    assert [(cell.hash, cell.state) for cell in record.cells] == [
        ("1.25-0", "done"),
        ("1.25-1", "planned"),
        ("5.0-0", "failed"),
        ("5.0-1", "running"),
    ]
    assert record.cells[2].failure.message == "by the kernel"
    assert record.cells[0].params == cell_params(1.25, 0)
    assert record.cells[1].params == cell_params(1.25, 1)
    assert [cell.run_id for cell in record.in_state("done")] == [done]
    assert (record.name, record.plan["claim"], record.tags["size"]) == (
        "resolution",
        {"margin": 0.01},
        "small",
    )


def test_params_come_back_with_their_types(ledger, study):
    params = read_cell(ledger, start(ledger, study)).params
    assert params == cell_params()
    assert {name: type(value) for name, value in params.items()} == {
        name: type(value) for name, value in cell_params().items()
    }


@pytest.mark.parametrize(
    "later",
    [
        {
            "fold": -1,
            "training_fraction": 1.0,
            "accumulation_steps": 1,
            "moment_window_batch": 0,
            "num_workers": 1,
            "recompute": False,
            "stream_tile": 0,
            "stop_at_training_loss": 0.0,
            "split": 1,
            "tile_labels": "image",
        },
        {"stop_at_training_loss": 0.0, "split": 1, "tile_labels": "image"},
        {"split": 1, "tile_labels": "image"},
    ],
)
def test_a_ledger_from_before_some_fields_is_read(ledger, study, later):
    older = {name: value for name, value in cell_params().items() if name not in later}
    run_id = write.start_cell(ledger, study, older, "1.25-0", "1.25mm", {}, DATASET)
    assert read_cell(ledger, run_id).params == {**older, **later}


@pytest.mark.parametrize("last", ["failed", "running", "done"])
def test_a_cell_that_ran_twice_counts_once(ledger, study, last):
    first = start(ledger, study)
    write.finish_cell(ledger, first, {"test_auc": 0.8}, predictions())
    second = start(ledger, study)
    if last == "failed":
        write.fail_cell(ledger, second, "killed", "")
    elif last == "done":
        write.finish_cell(ledger, second, {"test_auc": 0.9}, predictions())
    (cell,) = read_study(ledger, study).in_state("done")
    assert cell.run_id == (second if last == "done" else first)
    assert len(read_study(ledger, study).cells) == 4


def test_a_done_cell_that_a_later_plan_leaves_out_is_kept(ledger, study):
    write.finish_cell(ledger, start(ledger, study, seed=1), {"test_auc": 0.9}, predictions(1))
    start(ledger, study, 5.0, 1)
    study_run.start_study(ledger, "resolution", "hash0", plan(num_seeds=1), {})
    hashes = [cell.hash for cell in read_study(ledger, study).cells]
    assert hashes == ["1.25-0", "5.0-0", "1.25-1"]


def test_the_latest_study_is_the_one_started_last(ledger, study):
    other = study_run.start_study(
        ledger, "resolution", "hash1", plan(), {"size": "full", "dataset": "luna16"}
    )
    assert read_study(ledger, name="resolution").run_id == other
    assert read_study(ledger, name="resolution", size="small").run_id == study
    assert read_study(ledger, name="resolution", dataset="luna16").run_id == other
    study_run.start_study(ledger, "resolution", "hash0", plan(), {})
    assert read_study(ledger, name="resolution").run_id == study


def test_cells_are_read_over_several_pages(ledger, study, monkeypatch):
    monkeypatch.setattr(runs, "RUNS_PER_PAGE", 2)
    for seed in range(2):
        for resolution in (1.25, 5.0):
            start(ledger, study, resolution, seed)
    start(ledger, study, 5.0, 1)
    assert len(read_study(ledger, study).in_state("running")) == 4


def test_only_a_done_cell_has_predictions(ledger, study):
    run_id = start(ledger, study)
    with pytest.raises(LedgerError, match="is running"):
        load_predictions(ledger, run_id)
    write.finish_cell(ledger, run_id, {}, predictions())
    (ledger.artifact_root / run_id / "artifacts" / "predictions.parquet").unlink()
    with pytest.raises(LedgerError, match="loading the predictions"):
        load_predictions(ledger, run_id)


def test_a_curve_comes_back_over_examples_seen(ledger, study, monkeypatch):
    monkeypatch.setattr("mlp_med.ledger.entries.METRICS_PER_BATCH", 2)
    curve = pd.DataFrame(
        {
            "examples_seen": [0, 320, 640],
            "train_loss": [0.7, 0.5, 0.4],
            "validation_auc": [np.nan, 0.8, 0.9],
        }
    )
    run_id = start(ledger, study)
    write.log_curve(ledger, run_id, curve)
    pd.testing.assert_frame_equal(load_curve(ledger, run_id), curve)
    assert load_curve(ledger, start(ledger, study, 5.0)).empty


def test_what_is_not_there_is_said(ledger, study):
    cell = start(ledger, study)
    with pytest.raises(LedgerError, match="mlp-med study run nothing"):
        read_study(ledger, name="nothing")
    with pytest.raises(LedgerError, match=r"no study \(resolution, full\)"):
        read_study(ledger, name="resolution", size="full")
    with pytest.raises(LedgerError, match="got neither"):
        read_study(ledger)
    with pytest.raises(LedgerError, match="expected the run of a study"):
        read_study(ledger, cell)
    with pytest.raises(LedgerError, match="expected the run of a cell"):
        read_cell(ledger, study)
    with pytest.raises(LedgerError, match="reading the cell"):
        read_cell(ledger, "0" * 32)


@pytest.fixture
def done_cell(ledger):
    """A done cell of a study: its study's run id, its run id, and the file of its predictions."""
    study = study_run.start_study(ledger, "resolution", "hash0", plan(), {})
    run_id = start(ledger, study)
    write.finish_cell(ledger, run_id, {"test_auc": 0.9}, predictions())
    return study, run_id, ledger.artifact_root / run_id / "artifacts" / "predictions.parquet"


@fault(
    "corrupted predictions file",
    sees="'the predictions of run … are damaged', with both digests",
    lost="that cell's predictions",
    goes_on="every reader refuses them; mlp-med study verify marks the cell, and the study trains "
    "it again",
)
@pytest.mark.parametrize("how", ["another score", "a bit", "cut", "empty", "gone"])
def test_predictions_that_are_not_those_that_were_kept_are_refused_and_made_again(
    ledger, done_cell, how
):
    study, run_id, path = done_cell
    content = path.read_bytes()
    match how:
        case "another score":  # a whole file, from which a wrong number would come
            predictions(shift=0.01).to_parquet(path, index=False)
        case "a bit":
            path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
        case "cut":
            path.write_bytes(content[:-50])
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()
    wanted = "loading the predictions" if how == "gone" else "are damaged"
    with pytest.raises(LedgerError, match=wanted):
        load_predictions(ledger, run_id)
    (broken,) = fail_broken(ledger, read_study(ledger, study))
    assert broken.run_id == run_id
    cell = next(cell for cell in read_study(ledger, study).cells if cell.run_id == run_id)
    assert (cell.state, cell.failure.kind) == ("failed", "broken_predictions")
    again = start(ledger, study)
    write.finish_cell(ledger, again, {"test_auc": 0.9}, predictions())
    assert fail_broken(ledger, read_study(ledger, study)) == []
    pd.testing.assert_frame_equal(load_predictions(ledger, again), predictions())


def test_predictions_of_before_digests_are_read_and_a_broken_one_is_named(ledger, done_cell):
    _, run_id, path = done_cell
    ledger.client.delete_tag(run_id, names.PREDICTIONS_DIGEST)
    pd.testing.assert_frame_equal(load_predictions(ledger, run_id), predictions())
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(LedgerError, match="no Parquet table"):
        load_predictions(ledger, run_id)
