"""`--workers-per-cell` as a user types it: real files, a real SQLite ledger, real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlp_med.ledger.read import read_study
from mlp_med.ledger.store import open_ledger
from tests.studies.noise_study import write_patches

STUDY = "resolution_matters"
SMOKE = [STUDY, "--dataset", "metastasis_patches", "--size", "smoke", "--seeds", "1"]
FROM_THE_OUTSIDE = ("MLFLOW_TRACKING_URI", "TF_CONFIG", "SLURM_STEP_NUM_TASKS")


def mlp_med(*arguments: str, cwd: Path) -> str:
    environment = os.environ | {"COLUMNS": "200", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-m", "mlp_med.cli", *arguments],
        cwd=cwd,
        env={name: value for name, value in environment.items() if name not in FROM_THE_OUTSIDE},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


@pytest.mark.slow
def test_every_cell_of_a_study_is_trained_by_two_workers(tmp_path):
    write_patches(tmp_path / "source")
    printed = mlp_med(
        "study", "run", *SMOKE, "--source", "source", "--workers-per-cell", "2", cwd=tmp_path
    )
    cells = read_study(open_ledger(f"sqlite:///{tmp_path}/runs/mlflow.db"), name=STUDY).cells
    assert {cell.state for cell in cells} == {"done"}
    assert f"{len(cells)} of {len(cells)} cells are done" in printed
    assert {cell.params["num_workers"] for cell in cells} == {2}
    assert not any("worker_restarts" in cell.metrics for cell in cells)
    listed = mlp_med("study", "status", STUDY, cwd=tmp_path).replace("\n", "")
    assert all(cell.run_id in listed for cell in cells)
    assert list((tmp_path / "runs/checkpoints").glob("*")) == []
