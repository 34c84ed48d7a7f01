from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mlp_med.errors import StudyError
from mlp_med.ledger.read import CellRecord, StudyRecord
from mlp_med.ledger.store import Ledger
from mlp_med.studies import rerun
from mlp_med.studies.orders import Done, Failed


def predictions(seed):
    scores = np.random.default_rng(seed).random(20).astype(np.float32)
    ids = [f"c{i:02d}" for i in range(20)]
    return pd.DataFrame({"id": ids, "label": np.arange(20) % 2, "score": scores})


@pytest.fixture
def study(make_cell):
    def record(seed):
        cell = make_cell(seed=seed, scored_split="test")
        return CellRecord(
            run_id=f"run{seed}",
            study_run_id="study",
            hash=cell.hash,
            arm="5mm",
            state="done" if seed < 8 else "failed",
            params=cell.to_params(),
            metrics={"test_auc": 0.5},
            tags={"data_dir": "/data", "phantom": "true"},
        )

    return StudyRecord("study", "resolution_matters", {}, {}, [record(seed) for seed in range(10)])


@pytest.fixture
def rerun_of(study, monkeypatch):
    """Runs `rerun_cells` with training replaced by a function of the run id."""

    def run(results, changes=None):
        records = [record for record in study.cells if record.run_id in results]

        def launch(jobs, work, on_event, *, machine, preload):
            assert machine.cores == 2
            for job in jobs:
                order = job.open()
                result = results[order.run_id]
                if isinstance(result, Failed):
                    on_event(order, result)
                    continue
                path = Path(work.keywords["work"].keywords["directory"]) / f"{order.run_id}.parquet"
                result.to_parquet(path)
                on_event(order, Done())

        monkeypatch.setattr(rerun, "launch_local", launch)
        monkeypatch.setattr(
            rerun, "load_predictions", lambda _, run_id: predictions(int(run_id[3]))
        )
        monkeypatch.setattr(rerun, "_changes", lambda *_: changes or {})
        seen = []
        outcomes = rerun.rerun_cells(
            Ledger("sqlite:///x", None),
            records,
            num_concurrent=2,
            on_event=lambda cell, event: seen.append((cell.seed, type(event))),
        )
        assert len(seen) == len(records)
        return outcomes

    return run


def test_a_sample_is_drawn_from_the_done_cells_by_its_seed(study):
    drawn = rerun.sample_cells(study, 3, seed=5)
    assert len({cell.run_id for cell in drawn}) == 3
    assert all(cell.state == "done" for cell in drawn)
    assert rerun.sample_cells(study, 3, seed=5) == drawn
    other = replace(study, cells=study.cells[::-1])
    assert rerun.sample_cells(other, 3, seed=5) == drawn  # whatever order the ledger lists them in
    assert any(rerun.sample_cells(study, 3, seed=s) != drawn for s in range(5))
    assert len(rerun.sample_cells(study, 99, seed=0)) == 8
    with pytest.raises(StudyError, match="no cell of resolution_matters"):
        rerun.sample_cells(replace(study, cells=study.cells[8:]), 3, seed=0)


def test_each_cell_is_compared_with_its_own_run(rerun_of):
    again = predictions(1)
    again.loc[3, "score"] = np.nextafter(again.loc[3, "score"], np.float32(2))
    same, changed, failed, elsewhere = rerun_of(
        {
            "run0": predictions(0).sample(frac=1, random_state=0),
            "run1": again,
            "run2": Failed("non_finite_loss", "loss became NaN"),
            "run3": predictions(3).iloc[1:],
        },
        changes={"version.numpy": ("1.0", "2.0")},
    )
    assert same.identical
    assert same.largest_difference == 0
    assert not changed.identical
    assert 0 < changed.largest_difference < 1e-6
    assert "version.numpy: 1.0 then, 2.0 now" in str(changed)
    assert "failed: non_finite_loss: loss became NaN" in str(failed)
    assert not failed.identical
    assert "other test cases" in str(elsewhere)
    assert "PHANTOM" in str(same)


def test_a_difference_without_a_known_cause_is_said_to_be_one(rerun_of):
    (outcome,) = rerun_of({"run0": predictions(9), "run1": predictions(1)})[:1]
    assert "nothing that is recorded has changed" in str(outcome)


def test_of_three_classes_every_score_is_compared():
    scores = np.random.default_rng(0).dirichlet([1, 1, 1], 21)
    columns = {f"score_{k}": scores[:, k] for k in range(3)}
    labels = np.arange(21) % 3
    table = pd.DataFrame({"id": [f"c{i:02d}" for i in range(21)], "label": labels, **columns})
    record = CellRecord("run", "study", "hash", "0.8mm", "done", {"seed": 0}, {}, {})
    same = rerun._compare(record, table, table.sample(frac=1, random_state=0), {})
    assert same.identical
    assert same.auc_again == pytest.approx(roc_auc_score(labels, scores, multi_class="ovr"))
    moved = table.assign(score_2=table["score_2"] + np.where(table["id"] == "c03", 0.25, 0))
    other = rerun._compare(record, table, moved, {})
    assert (other.identical, other.largest_difference) == (False, pytest.approx(0.25))
