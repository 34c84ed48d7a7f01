"""A PostgreSQL of the distribution's packages, in a directory of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from tests.ledger.server_process import free_port

PASSWORD = "a-password-of-the-test"


def programs():
    """The directory of initdb and postgres; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
    beside = shutil.which("initdb")
    candidates = [*found[::-1], *([Path(beside).parent] if beside else [])]
    return next((path for path in candidates if (path / "initdb").exists()), None)


@contextmanager
def postgresql():
    """A server on the loopback; yields its URI, with a password in it."""
    bin_dir, port = programs(), free_port()
    as_user = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        as_user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    # Not in pytest's directories, which are their owner's alone.
    with tempfile.TemporaryDirectory(prefix="mlp_med-postgresql-") as directory:
        password = Path(directory) / "password"
        password.write_text(PASSWORD)
        if as_user:
            for path in (directory, password):
                shutil.chown(path, "postgres", "postgres")
        data = Path(directory) / "data"
        initdb = [bin_dir / "initdb", "-D", data, "-U", "mlp", "--pwfile", password, "-A", "md5"]
        quiet = {"stdout": subprocess.DEVNULL, "cwd": directory, **as_user}
        subprocess.run([*initdb, "--no-sync"], check=True, **quiet)
        command = [bin_dir / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1"]
        command += ["-k", directory, "-c", "fsync=off"]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL, **quiet)
        try:
            _wait(bin_dir, port)
            yield f"postgresql://mlp:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(30)


def _wait(bin_dir, port):
    ready = [bin_dir / "pg_isready", "-q", "-t", "60", "-h", "127.0.0.1", "-p", str(port)]
    for _ in range(600):
        if subprocess.run(ready).returncode == 0:
            return
        subprocess.run(["sleep", "0.2"], check=True)
    raise AssertionError("PostgreSQL does not answer")
