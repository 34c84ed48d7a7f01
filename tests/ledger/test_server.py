"""`mlp-med serve` as a user starts it: real processes, real databases."""

import base64
import importlib.util
import signal
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd
import psutil
import pytest

from mlp_med.errors import LedgerError
from mlp_med.ledger import server as module
from mlp_med.ledger import study_run
from mlp_med.ledger.delivery import start_or_key, tell
from mlp_med.ledger.read import find_studies, load_predictions, read_cell, read_study
from mlp_med.ledger.server import Server, is_loopback, run_server
from mlp_med.ledger.spool import Spool
from mlp_med.ledger.store import open_ledger
from tests.ledger.postgresql import PASSWORD, postgresql, programs
from tests.ledger.server_process import ServerProcess, free_port, server
from tests.ledger.synthetic import plan, predictions
from tests.ledger.test_delivery import end_of, start_of

needs_postgresql = pytest.mark.skipif(
    programs() is None, reason="PostgreSQL (the distribution's package) is not installed"
)


def status_of(address, login=None):
    request = urllib.request.Request(f"{address}/api/2.0/mlflow/experiments/get?experiment_id=0")
    if login:
        encoded = base64.b64encode(login.encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def command_lines(served):
    family = [psutil.Process(served.process.pid), *served.family()]
    return " ".join(" ".join(process.cmdline()) for process in family)


def ends_whole(served, how):
    family = served.family()
    assert family
    served.process.send_signal(how)
    served.process.wait(60)
    psutil.wait_procs(family, timeout=60)
    return not any(Path(f"/proc/{process.pid}").exists() for process in family)


def test_a_server_with_logins_knows_its_admin_alone_and_tells_the_password_to_nobody(
    tmp_path, monkeypatch
):
    directory = tmp_path / "a server"
    with server(directory, free_port(), "--logins") as served:
        path = module.password_path(directory)
        password = path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
        assert status_of(served.address) == 401
        assert status_of(served.address, "admin:not the password") == 401
        assert status_of(served.address, f"admin:{password}") == 200
        assert password not in command_lines(served)
        assert password not in served.log.read_text()
        assert str(path) in served.log.read_text().replace("\n", "")
        with pytest.raises(LedgerError, match="check the URI, its credentials"):
            open_ledger(served.address)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        ledger = open_ledger(served.address)
        study = study_run.start_study(ledger, "resolution", "hash0", plan(), {})
        assert find_studies(ledger, "resolution") == [study]
        assert ends_whole(served, signal.SIGKILL)  # which it cannot hear
    database = directory / "logins.db"
    with pytest.raises(LedgerError, match="not the one that"):
        module._refuse_another_password(database, "another-password")
    module._refuse_another_password(database, password)
    assert database.stat().st_mode & 0o077 == 0


@pytest.mark.slow
@needs_postgresql
def test_a_ledger_on_postgresql_with_its_artifacts_at_the_server(tmp_path):
    with postgresql() as uri:
        served = ServerProcess(tmp_path / "server", free_port(), MLFLOW_BACKEND_STORE_URI=uri)
        try:
            served.wait_until_it_answers()
            ledger = open_ledger(served.address)
            study = study_run.start_study(ledger, "resolution", "hash0", plan(), {})
            start = start_of(study)
            spool = Spool(tmp_path / "data")
            end = end_of(start, start_or_key(ledger, start))
            tell(lambda: ledger, spool, end)
            tell(lambda: ledger, spool, end)  # once more, as after an answer that was lost
            cell = read_study(ledger, study).cells[0]
            pd.testing.assert_frame_equal(load_predictions(ledger, cell.run_id), predictions())
            history = ledger.client.get_metric_history(cell.run_id, "validation_auc")
            assert [(point.step, point.value) for point in history] == [
                (step, value) for _, value, step in end.points
            ]
            kept = list((tmp_path / "server" / "artifacts").rglob("predictions.parquet"))
            assert len(kept) == 1
            assert PASSWORD not in command_lines(served)
            assert ends_whole(served, signal.SIGINT)
            assert PASSWORD not in served.log.read_text()
            direct = open_ledger(uri)  # the same database without a server
            assert read_cell(direct, cell.run_id).state == "done"
        finally:
            served.kill()
    with pytest.raises(LedgerError) as refused:  # the database is gone
        run_server(Server(tmp_path / "other", backend_uri=uri.replace("127.0.0.1:", "127.0.0.1:1")))
    assert PASSWORD not in str(refused.value)


def test_a_port_that_is_taken_is_one_clear_message(tmp_path, blank_database):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        asked = Server(tmp_path, backend_uri=f"sqlite:///{blank_database}", port=port)
        with pytest.raises(LedgerError, match=f"cannot listen on port {port} .* --port"):
            run_server(asked)


def test_a_host_of_another_machine_is_refused(tmp_path, blank_database, monkeypatch):
    monkeypatch.setenv(module.PASSWORD_VARIABLE, "long enough for MLflow")
    asked = Server(tmp_path, backend_uri=f"sqlite:///{blank_database}", host="192.0.2.1")
    with pytest.raises(LedgerError, match=r"cannot listen .* of 192\.0\.2\.1"):
        run_server(asked)


@pytest.mark.parametrize(
    ("missing", "asked"),
    [
        ("psycopg2", Server(Path("x"), backend_uri="postgresql://h/d")),
        ("flask_wtf", Server(Path("x"), host="0.0.0.0")),
        ("flask_wtf", Server(Path("x"), with_logins=True)),
    ],
)
def test_a_missing_extra_is_named(missing, asked, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else there(name)
    )
    with pytest.raises(LedgerError, match=rf"{missing}.*mlp-med\[server\]"):
        run_server(asked)
    assert list(tmp_path.iterdir()) == []


def test_only_databases_are_served(tmp_path):
    with pytest.raises(LedgerError, match="expected a database"):
        run_server(Server(tmp_path, backend_uri="http://user:secret@host"))


def test_a_short_password_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(module.PASSWORD_VARIABLE, "short")
    with pytest.raises(LedgerError, match=r"at least 12 characters .* got 5"):
        module._logins(tmp_path)


def test_the_generated_password_is_made_once(tmp_path, monkeypatch):
    monkeypatch.delenv(module.PASSWORD_VARIABLE, raising=False)
    first = module._password(tmp_path)
    assert len(first) >= 32
    assert module._password(tmp_path) == first
    monkeypatch.setenv(module.PASSWORD_VARIABLE, "given by the environment")
    assert module._password(tmp_path) == "given by the environment"


@pytest.mark.parametrize(
    ("host", "asks"),
    [
        ("127.0.0.1", False),
        ("127.8.0.1", False),
        ("localhost", False),
        ("::1", False),
        ("0.0.0.0", True),
        ("::", True),
        ("10.0.0.5", True),
        ("gpu-box", True),
        ("localhost.example.org", True),
    ],
)
def test_beyond_the_loopback_nobody_is_served_without_a_login(host, asks):
    assert is_loopback(host) is not asks
    assert Server(Path("x"), host=host).asks_for_logins is asks
    assert Server(Path("x"), host=host, with_logins=True).asks_for_logins


def test_studies_begun_without_a_server_are_named(ledger, caplog, monkeypatch, tmp_path):
    study_run.start_study(ledger, "resolution", "hash0", plan(), {})
    monkeypatch.setattr(module, "serve", lambda *_: 0)
    assert run_server(Server(tmp_path / "s", backend_uri=ledger.tracking_uri)) == 0
    assert "the artifacts of resolution lie on this machine's disk" in caplog.text


def test_a_server_behind_a_proxy_that_has_lost_it_does_not_answer(tmp_path):
    """502 is an answer of somebody else."""
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))
        proxy.listen()
        address = f"http://me:secret@127.0.0.1:{proxy.getsockname()[1]}"

        def answer():
            connection, _ = proxy.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(LedgerError, match=r"no tracking server answers.*502") as refused:
            open_ledger(address)
        answering.join()
    assert "secret" not in str(refused.value)
