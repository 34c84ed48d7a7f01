import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from mlp_med.errors import DatasetError, StudyError, TrainingError
from mlp_med.studies.own_process import in_process_of_its_own
from tests.command_line import own_environment


def told(what: str, *, fail: bool = False) -> tuple[str, int]:
    if fail:
        raise DatasetError(f"no {what}")
    return what, os.getpid()


def fail_in_training() -> None:
    raise TrainingError("non_finite_loss", "the loss was nan")


def fail_by_a_defect() -> None:
    class OfNoModuleError(ValueError):
        pass

    raise OfNoModuleError("which cannot be pickled")


def end_oneself(number: int) -> None:
    os.kill(os.getpid(), number)


def test_what_another_process_returns_and_raises_comes_back():
    what, process = in_process_of_its_own(told, "dataset", fail=False)
    assert what == "dataset"
    assert process != os.getpid()
    with pytest.raises(DatasetError, match=r"^no dataset$"):
        in_process_of_its_own(told, "dataset", fail=True)
    with pytest.raises(TrainingError, match=r"^the loss was nan$") as failed:
        in_process_of_its_own(fail_in_training)
    assert failed.value.kind == "non_finite_loss"


def test_a_defect_comes_back_with_its_traceback():
    with pytest.raises(RuntimeError, match="in fail_by_a_defect") as failed:
        in_process_of_its_own(fail_by_a_defect)
    assert "OfNoModuleError: which cannot be pickled" in str(failed.value)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGKILL, "end_oneself was ended by SIGKILL, .*, out of memory, before it was done"),
        (signal.SIGTERM, "end_oneself was ended by SIGTERM, before it was done"),
    ],
)
def test_a_process_that_is_ended_is_told_of_in_a_line(number, message):
    with pytest.raises(StudyError, match=message):
        in_process_of_its_own(end_oneself, number)


LOGGING = """
import logging
from mlp_med.studies import own_process

def log():
    logging.getLogger("absl").warning("of no interest")
    logging.getLogger("absl").error("of interest")

if __name__ == "__main__":
    del own_process.PRELOAD[1:]
    own_process.in_process_of_its_own(log)
"""


def test_what_tensorflow_warns_of_is_not_shown(tmp_path):
    script = tmp_path / "logging_there.py"
    script.write_text(LOGGING)
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=own_environment(), capture_output=True, text=True)
    assert done.stderr.strip() == "of interest"


WAITING = """
import sys, time
from mlp_med.studies import own_process

def wait(path):
    open(path, "w").close()
    time.sleep(300)

if __name__ == "__main__":
    own_process.PRELOAD[1:] = sys.argv[2:]
    try:
        own_process.in_process_of_its_own(wait, sys.argv[1])
    except KeyboardInterrupt:
        print("stopped")
"""


SLOW_MODULE = """
import time
open("begun", "w").close()
time.sleep(300)
"""


@pytest.fixture
def waiting(tmp_path):
    """Starts a process that waits for another, whose fork server imports these modules."""
    (tmp_path / "waiting.py").write_text(WAITING)
    (tmp_path / "slow_module.py").write_text(SLOW_MODULE)
    environment = own_environment()
    environment["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    started = []

    def start(*modules):
        process = subprocess.Popen(
            [sys.executable, "waiting.py", "begun", *modules],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # whose processes all hear Ctrl-C, as at a terminal
        )
        started.append(process)
        wait_until(lambda: (tmp_path / "begun").exists() or process.poll() is not None)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def processes_of(session: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            found += [process] if os.getsid(process.pid) == session else []
    return found


def wait_until(happened, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c_ends_both_processes_at_once_and_only_the_parent_speaks(waiting):
    process = waiting()
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=120)[0] == "stopped\n"


def test_ctrl_c_while_the_fork_server_still_imports_shows_nothing_of_it(waiting):
    process = waiting("slow_module")
    os.killpg(process.pid, signal.SIGINT)
    process.wait(120)
    for left in processes_of(process.pid):  # it ends with what it imports
        left.kill()
    assert process.communicate(timeout=120)[0] == "stopped\n"


def test_nothing_is_left_of_a_parent_that_is_killed(waiting):
    process = waiting()
    process.kill()
    wait_until(lambda: not [p for p in processes_of(process.pid) if p.pid != process.pid])


def test_who_starts_and_plans_cells_imports_no_tensorflow():
    modules = "run, planning, cell_needs, rerun, follower, launchers.local"
    code = (
        "import sys, importlib\n"
        f"for name in '{modules}'.split(', '):\n"
        "    importlib.import_module('mlp_med.studies.' + name)\n"
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=own_environment(), capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
