"""TensorFlow's threads, set to the cores that a cell was given."""

import os

from mlp_med.cores import available_cores
from mlp_med.errors import TrainingError

__all__ = ["available_cores", "configure_threads"]


def configure_threads(intra_op_threads: int) -> None:
    """Sets TensorFlow's threads; must be called before it runs its first operation.

    Inter-op parallelism is left at one: operations of one step mostly wait for each other, and
    their order, hence the rounding, is then the same every time.

    Raises:
        TrainingError: TensorFlow has already started with other threads.
    """
    import tensorflow as tf

    if intra_op_threads < 1:
        raise TrainingError("bad_threads", f"expected at least 1 thread, got {intra_op_threads}")
    # OpenMP does nothing in TensorFlow's own builds, but SciPy's BLAS would take every core.
    os.environ.setdefault("OMP_NUM_THREADS", str(intra_op_threads))
    wanted = (intra_op_threads, 1)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(wanted[0])
        tf.config.threading.set_inter_op_parallelism_threads(wanted[1])
    except RuntimeError as error:
        raise TrainingError(
            "bad_threads",
            f"expected to set {wanted[0]} intra-op threads before TensorFlow's first operation, "
            "but it has begun; call configure_threads first in a fresh process",
        ) from error
