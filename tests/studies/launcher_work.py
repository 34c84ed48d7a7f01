"""What the launcher's tests let a cell's process do; importable, so that a process can run it."""

import os
import signal
import tempfile
import time
from pathlib import Path

from mlp_med.errors import TrainingError
from mlp_med.studies.orders import Order, Progress


def do_as_the_seed_says(order: Order, send) -> None:
    """Each seed stands for one fate; every process leaves a note of having run."""
    notes = Path(order.data_dir)
    (notes / f"{order.cell.seed}.pid").write_text(f"{os.getpid()}\n{tempfile.gettempdir()}")
    (notes / f"{order.cell.seed}.cores").write_text(str(sorted(os.sched_getaffinity(0))))
    Path(tempfile.mkdtemp()).joinpath("leftover").write_text("a cell's rubbish")
    send(Progress(order.cell.budget_examples // 2))
    match order.cell.seed:
        case 1:
            raise TrainingError("non_finite_loss", "the loss became nan")
        case 2:
            os.kill(os.getpid(), signal.SIGKILL)
        case 3:
            raise ValueError("a defect of ours")
        case 4:
            os._exit(7)
        case 5:
            time.sleep(600)
        case 8:
            import tensorflow as tf

            tf.zeros([2**25, 2**20])  # 2⁴⁷ bytes, more than a process can address
