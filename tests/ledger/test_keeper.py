"""What a keeper ends: processes that nobody else would find, after a SIGKILL that nobody hears."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

# A command whose jobs have sessions of their own, ignore SIGTERM, and have lost their parent.
JOBS = """
import os, signal, subprocess, sys, time
sleep = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
job = subprocess.Popen([sys.executable, "-c", sleep], start_new_session=True)
lost = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {sleep!r}], " \\
    "start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)"
orphan = subprocess.run([sys.executable, "-c", lost], capture_output=True, text=True, check=True)
note = f"{os.getpid()} {job.pid} {orphan.stdout}"
with open(sys.argv[1] + ".unfinished", "w") as file:
    file.write(note)
os.rename(sys.argv[1] + ".unfinished", sys.argv[1])
time.sleep(0 if sys.argv[2:] else 600)
sys.exit(7)
"""
CALLER = """
import os, sys
from mlp_med.ledger import keeper
sys.exit(keeper.start([sys.executable, *sys.argv[1:]], os.environ).wait())
"""


def start(note, *arguments):
    command = [sys.executable, "-c", CALLER, "-c", JOBS, str(note), *arguments]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path.cwd())})


def processes_noted(note):
    deadline = time.monotonic() + 120
    while not note.exists():
        assert time.monotonic() < deadline, "the command never began"
        time.sleep(0.05)
    return [psutil.Process(int(pid)) for pid in note.read_text().split()]


@pytest.mark.parametrize("victim", ["caller", "keeper"])
def test_a_sigkill_leaves_no_process(victim, tmp_path):
    caller = start(tmp_path / "note")
    command, job, orphan = processes_noted(tmp_path / "note")
    keeper = command.parent()
    assert orphan.parent() == keeper
    ended = [command, job, orphan, keeper] if victim == "caller" else [keeper, command]
    try:
        caller.kill() if victim == "caller" else keeper.kill()
        assert psutil.wait_procs(ended, timeout=60)[1] == []
        assert not any(Path(f"/proc/{each.pid}").exists() for each in ended)
    finally:
        for each in {command, job, orphan}:
            if each.is_running():
                os.kill(each.pid, signal.SIGKILL)
        caller.wait()


def test_the_exit_code_is_the_commands_and_its_jobs_end_with_it(tmp_path):
    caller = start(tmp_path / "note", "at once")
    assert caller.wait(120) == 7
    pids = (tmp_path / "note").read_text().split()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
