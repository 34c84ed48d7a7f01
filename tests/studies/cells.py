"""The small cell that tests of studies begin from."""

from typing import Any

from mlp_med.studies.cell import Cell

FIELDS: dict[str, Any] = {
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


def small_cell(**changes: Any) -> Cell:
    """A cell of ten steps on crops of 5 mm, but for what is changed."""
    return Cell(**{**FIELDS, **changes})
