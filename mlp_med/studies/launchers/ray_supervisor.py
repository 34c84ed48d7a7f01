"""What runs on a node of a Ray cluster: a thin process that starts a cell and reads how it ended.

Neither Ray nor TensorFlow is imported here. The supervisor is the Ray task, so that what happens to
it is Ray's to tell; what happens to the cell, an end for want of memory included, is told by it, as
an event like any other. The cell holds a pipe of its supervisor and dies with it.
"""

import importlib
import os
import queue
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mlp_med.errors import StudyError
from mlp_med.studies.launchers.local import launch_local
from mlp_med.studies.orders import Done, Event, Failed, Job, Order, Progress, Started
from mlp_med.studies.provenance import code_digest, environment
from mlp_med.studies.room import Machine, Needs

SECONDS_TO_CONNECT = 10.0


@dataclass(frozen=True)
class WorkByName:
    """What a cell's process does, by its name: only that process imports it, and TensorFlow.

    Attributes:
        module: where it is.
        name: what it is called there.
        tf_config: TF_CONFIG of the process; "" where it is no worker of a cluster.
    """

    module: str
    name: str
    tf_config: str = ""

    def __call__(self, order: Order, send: Callable[[Progress], None]) -> None:
        """Imports the work and does it."""
        if self.tf_config:
            os.environ["TF_CONFIG"] = self.tf_config
        getattr(importlib.import_module(self.module), self.name)(order, send)


def supervise(
    order: Order,
    needs: Needs,
    work: WorkByName,
    preload: list[str],
    num_threads: str | None,
    node: str,
) -> Iterator[Event]:
    """Runs one cell, or a worker of one, in a process of its own here; yields what is told of it.

    Args:
        order: the cell's. Its start is by this node's clock.
        needs: what the process takes.
        work: what its process does.
        preload: modules that the fork server imports beforehand.
        num_threads: OMP_NUM_THREADS where the sweep runs: Ray sets it to the task's CPUs.
        node: what this node is called, or all on which the cell has workers.
    """
    yield Started({**environment(), "node": node})
    os.environ.pop("OMP_NUM_THREADS", None)
    if num_threads is not None:
        os.environ["OMP_NUM_THREADS"] = num_threads
    # Else each cell would import Ray's worker script as its main module, and Ray with it.
    vars(sys.modules["__main__"]).pop("__file__", None)
    told: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()
    own = replace(order, launched_at=time.time())

    def run() -> None:
        try:
            launch_local(
                [Job(needs, lambda: own)],
                work,
                lambda _, event: told.put(event),
                machine=Machine("this node", needs.threads, needs.memory_bytes),
                preload=preload,
                pin=False,
            )
        except Exception as error:
            told.put(error)

    threading.Thread(target=run, daemon=True).start()
    event: Event | Exception | None = None
    while not isinstance(event, Done | Failed):
        event = told.get()
        if isinstance(event, Exception):
            raise event
        yield event


@dataclass(frozen=True)
class NodeFacts:
    """What must be alike on all nodes of a study.

    Attributes:
        boot: of the machine: nodes on one machine share it.
        code_digest: of the code that decides the predictions.
        has_dataset: whether the dataset's folder is in the data directory.
        ledger_file: the device and the number of a SQLite ledger's file; None without.
        unreachable: why the tracking server cannot be reached; "" where it can.
        shares: whether it sees what the workers of one cell must share.
    """

    boot: str
    code_digest: str
    has_dataset: bool
    ledger_file: tuple[int, int] | None
    unreachable: str
    shares: bool = True


def inspect_node(
    dataset: str,
    data_dir: str,
    database: str | None,
    server: tuple[str, int] | None,
    sign: str | None = None,
) -> NodeFacts:
    """Looks at this node.

    Args:
        dataset: name of the TFDS builder.
        data_dir: TFDS's data directory.
        database: path of a SQLite ledger.
        server: host and port of a tracking server.
        sign: a file in what must be shared; None where nothing must.
    """
    unreachable = ""
    if server is not None:
        try:
            socket.create_connection(server, timeout=SECONDS_TO_CONNECT).close()
        except OSError as error:
            unreachable = str(error)
    return NodeFacts(
        boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        code_digest=code_digest(dataset),
        has_dataset=(Path(data_dir) / dataset).is_dir(),
        ledger_file=_file(database) if database else None,
        unreachable=unreachable,
        shares=sign is None or Path(sign).exists(),
    )


def require_alike(here: NodeFacts, there: NodeFacts, name: str, data_dir: str) -> None:
    """Compares a node with the machine that the sweep runs on.

    Raises:
        StudyError: cells cannot run there; it says what has to be shared.
    """
    if there.code_digest != here.code_digest:
        raise StudyError(
            f"expected the code of this machine ({here.code_digest}) on node {name}, got "
            f"{there.code_digest}; install the same commit of mlp_med on every node"
        )
    if not there.has_dataset:
        raise StudyError(
            f"expected the built dataset in {data_dir} on node {name}, found none; every node must "
            "see the data directory under the same path (--data-dir on a shared disk, or a copy)"
        )
    if here.ledger_file and (here.boot, here.ledger_file) != (there.boot, there.ledger_file):
        raise StudyError(
            f"expected a ledger that node {name} shares, got a SQLite file, which serves the "
            "processes of one machine; start a tracking server and give its address "
            "(--tracking-uri http://HOST:PORT)"
        )
    if there.unreachable:
        raise StudyError(
            f"node {name} does not reach the tracking server ({there.unreachable}); give an "
            "address that every node reaches, not a loopback's"
        )
    if not there.shares:
        raise StudyError(
            f"node {name} does not see the checkpoints, which the workers of one cell must share; "
            "put the data directory (--data-dir) on a disk that all nodes see under the same "
            "path, or train each cell by one worker (--workers-per-cell 1)"
        )


def _file(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None
