"""The command line as a user types it: in a process of its own, in a directory of the user's."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "mlp_med.cli"]
ROOT = Path(__file__).parents[1]
# `make test` exports a ledger of its own, and a cluster its place in it: neither is meant.
FROM_THE_OUTSIDE = ("MLFLOW_TRACKING_URI", "TF_CONFIG", "SLURM_STEP_NUM_TASKS")


def own_environment() -> dict[str, str]:
    """The environment of a user, whose terminal is wide."""
    environment = os.environ | {"COLUMNS": "200", "PYTHONPATH": str(ROOT)}
    return {name: value for name, value in environment.items() if name not in FROM_THE_OUTSIDE}


def mlp_med(*arguments: str, cwd: Path, code: int = 0, timeout_seconds: float = 300) -> str:
    """Runs the command, which must end with `code`; what it printed, standard error included."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=own_environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_seconds,
    )
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout
    assert "oneDNN custom operations" not in done.stdout  # TensorFlow's notices are nobody's news
    return done.stdout
