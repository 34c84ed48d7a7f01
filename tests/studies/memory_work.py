"""A cell's process in a control group that has little memory."""

import contextlib
import os
import time
from pathlib import Path

from mlp_med.studies.cell_process import POLL_SECONDS
from mlp_med.studies.orders import Order

VERSION_1 = Path("/sys/fs/cgroup/memory")
VERSION_2 = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def group_of_memory(limit_bytes: int):
    """A control group of that much memory; None where none can be made."""
    version_1 = VERSION_1.is_dir()
    group = (VERSION_1 if version_1 else VERSION_2) / f"mlp_med-test-{os.getpid()}"
    limit = "memory.limit_in_bytes" if version_1 else "memory.max"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        try:
            (group / limit).write_text(str(limit_bytes))
        except OSError:
            yield None
            return
        yield group
    finally:
        group.rmdir()


def fill_memory(order: Order, send) -> None:
    """Seed 0 joins the group that the order names, and takes memory until it is killed."""
    if order.cell.seed:
        return
    (Path(order.data_dir) / "cgroup.procs").write_text(str(os.getpid()))
    time.sleep(3 * POLL_SECONDS)  # so that it has been looked at before it is gone
    held = []
    while True:
        held.append(b"x" * 2**20)
