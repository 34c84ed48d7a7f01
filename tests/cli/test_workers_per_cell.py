"""`--workers-per-cell` as a user types it: real files, a real SQLite ledger, real processes."""

import pytest

from mlp_med.ledger.read import read_study
from mlp_med.ledger.store import open_ledger
from tests.command_line import mlp_med
from tests.studies.noise_study import write_patches

STUDY = "resolution_matters"
SMOKE = [STUDY, "--dataset", "metastasis_patches", "--size", "smoke", "--seeds", "1"]


@pytest.mark.slow
def test_every_cell_of_a_study_is_trained_by_two_workers(tmp_path):
    write_patches(tmp_path / "source")
    run = ["study", "run", *SMOKE, "--source", "source", "--workers-per-cell", "2"]
    printed = mlp_med(*run, cwd=tmp_path, timeout_seconds=1200)
    cells = read_study(open_ledger(f"sqlite:///{tmp_path}/runs/mlflow.db"), name=STUDY).cells
    assert {cell.state for cell in cells} == {"done"}
    assert f"{len(cells)} of {len(cells)} cells are done" in printed
    assert {cell.params["num_workers"] for cell in cells} == {2}
    assert not any("worker_restarts" in cell.metrics for cell in cells)
    listed = mlp_med("study", "status", STUDY, cwd=tmp_path).replace("\n", "")
    assert all(cell.run_id in listed for cell in cells)
    assert list((tmp_path / "runs/checkpoints").glob("*")) == []
