"""`mlp-med serve` as a process of its own, to be ended in every way."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import psutil


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def environment(**changes):
    """A user's, without a ledger of the tests' own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    return {**inherited, "PYTHONPATH": str(Path.cwd()), "COLUMNS": "200", **changes}


class ServerProcess:
    """A server that answers."""

    def __init__(self, directory, port, *arguments, **variables):
        self.address = f"http://127.0.0.1:{port}"
        self.log = Path(directory) / "server.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mlp_med.cli", "serve", "--directory", str(directory)]
        command += ["--port", str(port), "--processes", "1", *arguments]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                # A job in the background ignores Ctrl-C, and so would all that it starts.
                command,
                stdout=log,
                stderr=log,
                env=environment(**variables),
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    def wait_until_it_answers(self, seconds=300):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.2)
        raise AssertionError(f"no answer: {self.log.read_text()}")

    def family(self):
        """Every process that it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self):
        """SIGKILL to all at once, as a machine that is lost."""
        try:
            everyone = [*self.family(), psutil.Process(self.process.pid)]
        except psutil.NoSuchProcess:
            return
        for process in everyone:
            process.kill()
        psutil.wait_procs(everyone, timeout=10)
        self.process.wait()


@contextmanager
def server(directory, port, *arguments, **variables):
    started = ServerProcess(directory, port, *arguments, **variables)
    try:
        started.wait_until_it_answers()
        yield started
    finally:
        started.kill()
