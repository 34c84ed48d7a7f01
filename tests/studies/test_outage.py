"""A study whose tracking server is killed under it."""

import subprocess
import sys
import time

import pytest

from mlp_med.ledger.store import open_ledger
from tests.faults import fault
from tests.ledger.server_process import environment, free_port, server
from tests.ledger.snapshot import snapshot
from tests.studies.outage_work import HELD, NUM_CELLS

STUDY = [
    sys.executable,
    "-c",
    "import sys; from tests.studies.outage_work import main; main(*sys.argv[1:])",
]


def start(tracking_uri, data_dir):
    data_dir.mkdir(exist_ok=True)
    command = [*STUDY, tracking_uri, str(data_dir)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment(), text=True, stdout=pipe, stderr=pipe)


def end_of(study, code=0):
    printed, errors = study.communicate(timeout=400)
    assert study.returncode == code, errors
    assert "Traceback" not in errors
    return printed, errors


def wait_for(path, seconds=300):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"waited in vain for {path}"
        time.sleep(0.05)


def what_the_ledger_has(tracking_uri, printed):
    run_id, num_done = printed.splitlines()[-1].split()
    assert num_done == str(NUM_CELLS)
    return snapshot(open_ledger(tracking_uri), run_id)


@pytest.mark.slow
@fault(
    "SIGKILL of the tracking server",
    sees="a warning for each cell, and where its result is kept",
    lost="nothing",
    goes_on="cells train on; results wait in DATA_DIR/spool and are recorded once, later",
)
def test_a_study_whose_server_is_killed_trains_on_and_its_ledger_is_whole(tmp_path):
    plain = f"sqlite:///{tmp_path}/plain/mlflow.db"
    (tmp_path / "calm").mkdir()
    (tmp_path / "calm" / "go").touch()
    printed, _ = end_of(start(plain, tmp_path / "calm"))
    undisturbed = what_the_ledger_has(plain, printed)
    port, data = free_port(), tmp_path / "data"
    with server(tmp_path / "server", port) as lost:
        study = start(lost.address, data)
        wait_for(data / f"{HELD}.began")
        lost.kill()
    (data / "go").touch()
    for seed in range(HELD, NUM_CELLS):  # without any server
        wait_for(data / f"{seed}.ended")
    assert study.poll() is None
    assert len(list((data / "spool").glob("*.parquet"))) >= NUM_CELLS - HELD - 1
    with server(tmp_path / "server", port) as back:
        printed, errors = end_of(study)
        assert "no tracking server answers" in errors
        found = what_the_ledger_has(back.address, printed)
    assert list((data / "spool").iterdir()) == []
    paths = [run["tags"].pop("mlp_med.data_dir") for runs in found.values() for run in runs]
    assert paths == [str(data)] * NUM_CELLS  # one run a cell
    for (run,) in undisturbed.values():
        del run["tags"]["mlp_med.data_dir"]
    assert found == undisturbed
