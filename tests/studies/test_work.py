import os
import signal
import subprocess
import sys
import time

import pytest

from mlp_med.errors import DatasetError, StudyError
from mlp_med.studies.work import in_process_of_its_own
from tests.command_line import own_environment


def told(what: str, *, fail: bool = False) -> tuple[str, int]:
    if fail:
        raise DatasetError(f"no {what}")
    return what, os.getpid()


def end_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_another_process_returns_and_raises_comes_back():
    what, process = in_process_of_its_own(told, "dataset", fail=False)
    assert what == "dataset"
    assert process != os.getpid()
    with pytest.raises(DatasetError, match=r"^no dataset$"):
        in_process_of_its_own(told, "dataset", fail=True)


def test_a_process_that_is_ended_is_told_of_in_a_line():
    with pytest.raises(StudyError, match="process of end_oneself was ended before"):
        in_process_of_its_own(end_oneself)


WAITING = """
import sys, time
from mlp_med.studies import work

def wait(path):
    open(path, "w").close()
    time.sleep(300)

if __name__ == "__main__":
    work.PRELOAD.clear()
    try:
        work.in_process_of_its_own(wait, sys.argv[1])
    except KeyboardInterrupt:
        print("stopped")
"""


def test_ctrl_c_ends_both_processes_at_once_and_only_the_parent_speaks(tmp_path):
    script, begun = tmp_path / "waiting.py", tmp_path / "begun"
    script.write_text(WAITING)
    process = subprocess.Popen(
        [sys.executable, str(script), str(begun)],
        env=own_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # whose processes all hear Ctrl-C, as at a terminal
    )
    while not begun.exists() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "stopped\n"


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
