"""Which machines train a cell together, as the environment of this process says."""

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from mlp_med.errors import StudyError

# Slurm's own ports begin above 60000; two jobs on one node seldom get the same of these.
_FIRST_PORT, _NUM_PORTS = 15000, 20000


@dataclass(frozen=True)
class Cluster:
    """A group of processes, one of which is this one.

    Attributes:
        addresses: "host:port" of each worker, the chief's first.
        index: of this process.
        session: the same for all of them, and another for the next group where Slurm tells.
    """

    addresses: tuple[str, ...]
    index: int
    session: str

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self.addresses)


def cluster_of(addresses: Sequence[str], index: int) -> Cluster:
    """Worker `index` of those at `addresses`, the chief's first."""
    session = hashlib.sha256(" ".join(addresses).encode()).hexdigest()[:16]
    return Cluster(tuple(addresses), index, session)


def tf_config(addresses: Sequence[str], index: int) -> str:
    """TF_CONFIG of worker `index` of those at `addresses`, the chief's first."""
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": task})


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports of this machine that nobody listens on; held open together so that all differ.

    Args:
        count: how many.
        host: an address of this machine; "" for all of them.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((host, 0))
        return [each.getsockname()[1] for each in sockets]


def cluster_from_environment() -> Cluster | None:
    """The cluster that TF_CONFIG names, else the tasks of this Slurm step; None where it is alone.

    Raises:
        StudyError: what the environment says cannot be a group of workers.
    """
    if text := os.environ.get("TF_CONFIG"):
        return _from_tf_config(text)
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return _from_slurm()
    return None


def _from_tf_config(text: str) -> Cluster | None:
    try:
        config = json.loads(text)
        jobs = {job: list(at) for job, at in config.get("cluster", {}).items()}
        addresses = [*jobs.pop("chief", []), *jobs.pop("worker", [])]
        kind, index = config["task"]["type"], int(config["task"]["index"])
        index += len(config["cluster"].get("chief", [])) if kind == "worker" else 0
        usable = not jobs and kind in ("chief", "worker") and 0 <= index < len(addresses)
    except (ValueError, KeyError, TypeError, AttributeError):
        usable = False
    if not usable:
        raise StudyError(
            'expected TF_CONFIG such as {"cluster": {"worker": ["a:5000", "b:5000"]}, "task": '
            f'{{"type": "worker", "index": 0}}}}, got {text}'
        )
    return cluster_of(addresses, index) if len(addresses) > 1 else None


def _from_slurm() -> Cluster:
    """By TensorFlow's own reading of Slurm's variables."""
    import tensorflow as tf

    job, step = (os.environ.get(f"SLURM_{name}", "0") for name in ("JOB_ID", "STEP_ID"))
    # The resolver knows no node without GPUs, so it is told of one a task; which of them a task
    # sees is left to Slurm.
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
        port_base=_FIRST_PORT + int(job) % _NUM_PORTS,
        gpus_per_node=int(os.environ["SLURM_STEP_NUM_TASKS"]),
        gpus_per_task=1,
        auto_set_gpu=False,
    )
    addresses = resolver.cluster_spec().as_dict()["worker"]
    own, told = os.environ.get("SLURMD_NODENAME", ""), addresses[resolver.task_id]
    if own and told.rsplit(":", 1)[0] != own:
        raise StudyError(
            f"expected task {resolver.task_id} of the step on {told}, as TensorFlow orders nodes "
            f"(by their names as text), got {own}; ask for nodes whose names sort alike, such as "
            "node08 and node10, or give each task TF_CONFIG"
        )
    return Cluster(tuple(addresses), int(resolver.task_id), f"slurm-{job}.{step}")
