"""What the process of a cell does, for those who start it and need no TensorFlow themselves."""

from pathlib import Path

from mlp_med.ledger.delivery import tell
from mlp_med.ledger.spool import CellEnd, Spool
from mlp_med.ledger.store import open_ledger
from mlp_med.ledger.write import curve_points
from mlp_med.studies.orders import Order, SendProgress
from mlp_med.studies.resume import remove_checkpoints

# Imported by the fork server once, so that a cell need not: its worker and all that it imports.
PRELOAD = [
    "mlp_med.studies.quiet_server",
    "mlp_med.quiet_tensorflow",
    "mlp_med.studies.worker",
    "mlflow.store.tracking.sqlalchemy_store",
    "tensorflow_datasets",
    "tfds_builders",
]


def train_and_log(order: Order, send: SendProgress) -> None:
    """Trains the cell and tells the ledger its result, or keeps it until the ledger answers."""
    from mlp_med.studies import worker

    assert order.start is not None  # else there would be nothing to log
    result = worker.train(order, send)
    end = CellEnd(
        start=order.start,
        run_id=order.run_id,
        metrics=result.metrics,
        points=curve_points(order.run_id, result.curve),
        predictions=result.predictions,
        tags=result.tags,
    )
    tell(lambda: open_ledger(order.tracking_uri), Spool(order.data_dir), end)
    remove_checkpoints(order)  # the result is in the ledger, or on the disk


def train_and_save(order: Order, send: SendProgress, *, path: Path) -> None:
    """Trains the cell and writes its predictions to `path`; the ledger is left alone."""
    from mlp_med.studies import worker

    worker.train(order, send).predictions.to_parquet(path)
