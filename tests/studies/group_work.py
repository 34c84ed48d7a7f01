"""What the tests of worker groups let a chief do; importable, so that a process can run it."""

import os
from pathlib import Path

from mlp_med.studies.orders import Order, SendProgress
from mlp_med.studies.worker import train


def note_and_train(order: Order, send: SendProgress, *, path: Path) -> None:
    """Leaves a note of its process before it trains."""
    path.write_text(str(os.getpid()))
    train(order, send)


def train_and_keep(order: Order, send: SendProgress, *, directory: Path) -> None:
    """Keeps predictions and curves."""
    result = train(order, send)
    result.predictions.to_parquet(directory / "predictions.parquet")
    result.curve.to_parquet(directory / "curve.parquet")
