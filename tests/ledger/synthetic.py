"""A small study to write: two arms of two seeds."""

import numpy as np
import pandas as pd

from mlp_med.ledger.write import DatasetInput

DATASET = DatasetInput("luna16/1.25mm", "d" * 64, "/data/luna16", {"train": 30})


def cell_params(resolution=1.25, seed=0):
    return {
        "dataset": "luna16",
        "dataset_digest": "1234567890",  # only digits: it must come back as text
        "resolution": resolution,
        "augment": True,
        "learning_rate": 1e-3,
        "budget_examples": 640,
        "seed": seed,
        "fold": 3,
        "training_fraction": 0.5,
        "accumulation_steps": 2,
        "moment_window_batch": 0,
        "num_workers": 1,
        "recompute": True,
        "stream_tile": 48,
        "stop_at_training_loss": 0.05,
        "split": 2,
        "tile_labels": "bag",
    }


def plan(num_seeds=2):
    cells = [
        {
            "hash": f"{resolution}-{seed}",
            "arm": f"{resolution}mm",
            "params": cell_params(resolution, seed),
        }
        for resolution in (1.25, 5.0)
        for seed in range(num_seeds)
    ]
    return {"question": "does it?", "claim": {"margin": 0.01}, "cells": cells}


def predictions(seed=0, shift=0.0):
    generator = np.random.default_rng(seed)
    label = np.tile([0, 1], 10)
    return pd.DataFrame(
        {
            "id": [f"case{i}" for i in range(20)],
            "patient": [f"patient{i // 4}" for i in range(20)],
            "seed": seed,
            "label": label.astype("int8"),
            "score": (0.2 + 0.3 * label + shift + 0.2 * generator.random(20)).astype("float32"),
            "diameter_mm": 5.0 * label,
        }
    )
