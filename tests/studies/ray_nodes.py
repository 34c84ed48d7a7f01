"""A Ray cluster of real node processes on addresses of the loopback, with token authentication.

Each node is what `ray start` makes of a machine, in a process group of its own: to kill the group
by SIGKILL is to lose the machine.
"""

import contextlib
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from mlp_med.studies.cluster import free_ports

# Looked for, not imported: Ray reads its token's environment when it is imported.
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the extra ray is not installed"
)

SECONDS_TO_START = 120
MEMORY_BYTES = 4_000_000_000
# Of every cluster of this process: Ray keeps the first that it reads.
TOKEN = secrets.token_hex(32)


@dataclass
class Node:
    """One node: its address, and the process that everything of it descends from."""

    address: str
    process: subprocess.Popen[bytes]
    directory: Path

    def kill(self) -> None:
        """Ends every process of the node by SIGKILL, the raylet first, as if the power failed."""
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
            for each in sorted(family, key=lambda each: _name(each) != "raylet"):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return process.name()
    return ""


@contextlib.contextmanager
def ray_cluster(
    num_nodes: int = 3, cpus: int = 1, **more_settings: str
) -> Iterator[tuple[str, list[Node]]]:
    """Starts 127.0.0.2, 127.0.0.3, …; yields the head's address and the nodes, the head first.

    The environment of this process has the cluster's token meanwhile, as a user's would, and Ray's
    further settings.
    """
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_health_check_initial_delay_ms": "2000",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "5000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_worker_niceness": "0",  # else 15, and another test run beside this one starves it
        "PYTHONPATH": str(Path.cwd()),
        **more_settings,
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    nodes: list[Node] = []
    # Short: Ray puts sockets there, whose paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as directory:
        try:
            head = f"127.0.0.2:{free_ports(1, '127.0.0.2')[0]}"
            nodes.append(_start(head, Path(directory), cpus, is_head=True))
            _wait_for(head, 1, nodes[0])
            for number in range(1, num_nodes):
                nodes.append(_start(head, Path(directory), cpus, number=number))
            _wait_for(head, num_nodes, nodes[0])
            yield head, nodes
        finally:
            for node in reversed(nodes):
                node.kill()
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _start(head: str, root: Path, cpus: int, *, is_head: bool = False, number: int = 0) -> Node:
    address = f"127.0.0.{2 + number}"
    directory = root / str(number)
    directory.mkdir()
    where = ["--head", "--port", head.split(":")[1]] if is_head else ["--address", head]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *where]
    command += ["--node-ip-address", address, "--num-cpus", str(cpus), "--num-gpus", "0"]
    command += ["--object-store-memory", "80000000", "--memory", str(MEMORY_BYTES)]
    command += ["--include-dashboard", "false"] if is_head else []
    command += ["--include-log-monitor", "false", "--disable-usage-stats"]
    command += ["--temp-dir", str(directory)]
    log = (directory / "start.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    return Node(address, process, directory)


def _wait_for(head: str, num_nodes: int, node: Node) -> None:
    """Until so many nodes are alive, as the head's own directory of nodes says."""
    from ray._raylet import GcsClient

    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        with contextlib.suppress(Exception):
            host, port = head.split(":")
            socket.create_connection((host, int(port)), timeout=5).close()
            client = GcsClient(address=head)
            alive = [each for each in client.get_all_node_info().values() if each.state == 0]
            if len(alive) >= num_nodes:
                return
        told = (node.directory / "start.log").read_text()
        assert node.process.poll() is None, told
        assert time.monotonic() < deadline, f"no {num_nodes} nodes in time: {told}"
        time.sleep(0.2)
