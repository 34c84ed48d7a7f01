import pytest

from mlp_med.studies.cell import Cell
from tests.ledger.conftest import blank_database, ledger  # noqa: F401


@pytest.fixture
def make_cell():
    def make(**changes) -> Cell:
        fields = {
            "dataset": "luna16",
            "dataset_digest": "abc",
            "resolution": 5.0,
            "grid": 5.0,
            "control": "none",
            "model": "residual_small",
            "depth": "fixed",
            "norm": "batch",
            "precision": "float32",
            "global_batch_size": 8,
            "accumulation_steps": 1,
            "moment_window_batch": 0,
            "recompute": False,
            "stream_tile": 0,
            "split": 1,
            "tile_labels": "image",
            "learning_rate": 1e-3,
            "budget_examples": 80,
            "fold": -1,
            "training_fraction": 1.0,
            "num_evaluations": 2,
            "stop_at_training_loss": 0.0,
            "augment": True,
            "intra_op_threads": 1,
            "num_workers": 1,
            "scored_split": "test",
            "seed": 0,
        }
        return Cell(**{**fields, **changes})

    return make
