import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mlp_med.errors import LedgerError
from mlp_med.ledger.store import open_ledger
from tests.faults import fault


def test_importing_the_rooms_does_not_import_mlflow():
    code = (
        "import sys, mlp_med.ledger.read, mlp_med.ledger.store, mlp_med.ledger.write; "
        "sys.exit('mlflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_relative_uri_becomes_absolute(blank_database, tmp_path, monkeypatch):
    (tmp_path / "mlflow.db").write_bytes(blank_database.read_bytes())
    monkeypatch.chdir(tmp_path)
    ledger = open_ledger("sqlite:///mlflow.db")
    assert ledger.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert ledger.artifact_root == tmp_path / "artifacts"


def test_the_database_is_in_wal_mode_and_nothing_unfinished_is_left(blank_database):
    with closing(sqlite3.connect(blank_database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert not list(blank_database.parent.glob("*unfinished*"))


def test_telemetry_is_off_whatever_the_environment_says(blank_database, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    open_ledger(f"sqlite:///{blank_database}")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


OPEN_AT_ONCE = """
import multiprocessing, sys
import mlflow.store.tracking.sqlalchemy_store  # once, and not by each of the eight
from mlp_med.ledger.store import open_ledger

def open_and_write(number):
    barrier.wait()
    ledger = open_ledger(sys.argv[1])
    experiment = ledger.client.create_experiment(f"of process {number}")
    for _ in range(5):
        ledger.client.log_batch(ledger.client.create_run(experiment).info.run_id)

context = multiprocessing.get_context("fork")
barrier = context.Barrier(8)
processes = [context.Process(target=open_and_write, args=(i,)) for i in range(8)]
for process in processes:
    process.start()
for process in processes:
    process.join(60)
sys.exit([process.exitcode for process in processes] != [0] * 8)
"""


def test_eight_processes_open_a_fresh_database_at_once(tmp_path):
    uri = f"sqlite:///{tmp_path}/fresh/mlflow.db"
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run([sys.executable, "-c", OPEN_AT_ONCE, uri], env=environment, check=True)
    names = {experiment.name for experiment in open_ledger(uri).client.search_experiments()}
    assert names == {"Default", *(f"of process {i}" for i in range(8))}


def test_what_a_killed_creation_left_is_replaced(tmp_path):
    (tmp_path / "mlflow.db.unfinished").write_bytes(b"half a database")
    assert open_ledger(f"sqlite:///{tmp_path}/mlflow.db").client.search_experiments()


@pytest.mark.parametrize(
    ("uri", "what_to_do"),
    [
        ("runs/mlflow.db", "sqlite:///"),
        ("file:///tmp/mlruns", "sqlite:///"),
        ("sqlite://", "sqlite:///PATH"),
        ("sqlite:///:memory:", "sqlite:///PATH"),
        ("sqlite:///a.db?mode=ro", "without options"),
        ("ftp://host/x", "check the URI"),
        ("http://127.0.0.1:9", "no tracking server answers"),
        ("http://", "no tracking server answers"),
        ("sqlite:////proc/mlp_med/mlflow.db", "disk that you may write to"),
    ],
)
def test_a_uri_that_cannot_be_a_ledger_says_what_to_do(uri, what_to_do, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LedgerError, match=what_to_do):
        open_ledger(uri)
    assert not list(tmp_path.iterdir())


def test_a_path_through_a_file_or_to_a_directory_or_to_another_file_is_refused(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("not a database, and long enough to be looked at as one " * 20)
    for path in (file / "mlflow.db", tmp_path, file):
        with pytest.raises(LedgerError, match="cannot write the ledger"):
            open_ledger(f"sqlite:///{path}")
    assert file.read_text().startswith("not a database")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_database_is_refused(blank_database, tmp_path):
    database = tmp_path / "mlflow.db"
    database.write_bytes(blank_database.read_bytes())
    database.chmod(0o444)
    with pytest.raises(LedgerError, match="cannot write the ledger"):
        open_ledger(f"sqlite:///{database}")


@fault(
    "ledger of a newer schema",
    sees="'the ledger … was made by another version of MLflow', and what to install",
    lost="nothing: the file is not touched",
    goes_on="with the MLflow that made it",
)
def test_a_database_of_another_mlflow_is_refused_and_not_touched(blank_database, tmp_path):
    database = tmp_path / "mlflow.db"
    database.write_bytes(blank_database.read_bytes())
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffff00000000'")
        connection.commit()
    with pytest.raises(LedgerError, match="another version of MLflow"):
        open_ledger(f"sqlite:///{database}")
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (
            "ffff00000000",
        )


def test_a_server_that_is_not_mlflow_is_refused(tmp_path):
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        port = server.stdout.readline().split(" port ")[1].split()[0]
        with pytest.raises(LedgerError, match="check the URI"):
            open_ledger(f"http://127.0.0.1:{port}")
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def test_the_lock_file_is_beside_the_database(ledger):
    assert ledger.lock_path == Path(ledger.tracking_uri.removeprefix("sqlite:///") + ".lock")
    probe = (
        "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)",
        str(ledger.lock_path),
    )
    with ledger.locked():
        locked = subprocess.run([sys.executable, "-c", *probe], stderr=subprocess.DEVNULL)
    assert locked.returncode != 0
    subprocess.run([sys.executable, "-c", *probe], check=True)
