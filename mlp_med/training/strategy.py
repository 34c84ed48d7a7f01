"""Where a cell is trained: one device, several of one machine, or several machines."""

import json
import os

import numpy as np
import tensorflow as tf

from mlp_med.errors import TrainingError


def make_strategy(num_replicas: int | None = None) -> tf.distribute.Strategy:
    """The strategy for this process: GPUs if there are any, else the CPU.

    With TF_CONFIG set to a cluster of several workers this is MultiWorkerMirroredStrategy, and
    must be made before TensorFlow runs its first operation. Otherwise one replica is OneDevice and
    several are mirrored, on the CPU over logical devices which are created here if need be.

    Args:
        num_replicas: on this machine; None for every GPU, or one on the CPU.

    Raises:
        TrainingError: there are not so many devices.
    """
    if _num_workers() > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    # Physical ones: to list logical devices starts TensorFlow, and then the CPU stays whole.
    gpus = tf.config.list_physical_devices("GPU")
    wanted = num_replicas if num_replicas is not None else max(1, len(gpus))
    if wanted < 1:
        raise TrainingError("no_device", f"expected at least 1 replica, got {wanted}")
    if not gpus and wanted > 1:
        _divide_cpu(wanted)
    devices = [device.name for device in tf.config.list_logical_devices("GPU" if gpus else "CPU")]
    if wanted > len(devices):
        raise TrainingError(
            "no_device", f"expected {wanted} devices for as many replicas, found {len(devices)}"
        )
    if wanted == 1:
        return tf.distribute.OneDeviceStrategy(devices[0])
    return tf.distribute.MirroredStrategy(devices[:wanted])


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one of its group that writes; true where there is no group."""
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type in (None, "", "chief"):
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "worker" and resolver.task_id == 0 and not has_chief


def from_all_workers(strategy: tf.distribute.Strategy, value: int) -> np.ndarray:
    """Every replica's value, int64 [num_replicas]; every worker must ask at the same moment.

    What workers decide each for itself must be decided alike, or one waits for ever for the other.
    """

    @tf.function(autograph=False)
    def gathered() -> tf.Tensor:
        here = strategy.run(lambda: tf.constant([value], tf.int64))
        return strategy.gather(here, axis=0)

    return gathered().numpy()


def _num_workers() -> int:
    cluster = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {})
    return sum(len(addresses) for addresses in cluster.values())


def _divide_cpu(num_devices: int) -> None:
    """Makes logical CPU devices, if TensorFlow has not started yet with enough of them."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    existing = tf.config.get_logical_device_configuration(cpu) or []
    if len(existing) >= num_devices:
        return
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(num_devices)]
        )
    except RuntimeError as error:
        raise TrainingError(
            "no_device",
            f"expected {num_devices} logical CPU devices, but TensorFlow has started with "
            f"{max(1, len(existing))}; call make_strategy first in a fresh process",
        ) from error
