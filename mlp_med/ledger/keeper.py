"""The process between a command and MLflow's server, which ends all of that when either ends.

MLflow's server has workers and may have jobs, some in sessions of their own. A command that is
ended by SIGKILL can end none of them, so the kernel tells this process of it, by SIGTERM; and gives
it every process of the server's that has lost its parent, so that it finds them all.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType

import psutil

from mlp_med.orphans import adopt_orphans, die_with_parent

SECONDS_TO_END = 5.0
SECONDS_TO_KILL = 10.0


def start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Starts a command under a keeper, in a process group of its own: Ctrl-C is the caller's.

    Args:
        command: program and arguments.
        environment: of the program.

    Returns:
        The keeper. SIGTERM ends it and all that the command has started; its exit code is the
        command's if that ends by itself, else 0.
    """
    keeper = [sys.executable, "-m", "mlp_med.ledger.keeper", str(os.getpid())]
    return subprocess.Popen([*keeper, *command], env=dict(environment), start_new_session=True)


def _keep(parent: int, command: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, _exit)
    die_with_parent(signal.SIGTERM)
    adopt_orphans()
    if os.getppid() != parent:  # it was gone before the kernel was asked
        return 0
    server = subprocess.Popen(command, preexec_fn=lambda: die_with_parent(signal.SIGTERM))
    try:
        code = server.wait()
        return 128 - code if code < 0 else code
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_all(server)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _end_all(server: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C would, and by SIGKILL what is left then: children, theirs, and adopted ones."""
    server.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(SECONDS_TO_END)
    deadline = time.monotonic() + SECONDS_TO_KILL
    while (left := psutil.Process().children(recursive=True)) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=0.5)


if __name__ == "__main__":
    sys.exit(_keep(int(sys.argv[1]), sys.argv[2:]))
