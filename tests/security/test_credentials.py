"""A tracking URI may hold a password or token: neither is printed, kept, or an argument."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_med.errors import LedgerError
from mlp_med.ledger import serving, ui, write
from mlp_med.ledger.credentials import HIDDEN, without_credentials
from mlp_med.ledger.read import read_study
from mlp_med.ledger.store import Ledger, ledger_errors, open_ledger
from mlp_med.reports.page import commands
from tests.reports.conftest import CLAIM, asdict
from tests.reports.synthetic import write_study

ROOT = Path(__file__).parents[2]
USER, PASSWORD, TOKEN = "us3rname", "p4ssw0rd", "t0k3n"
SECRETS = (USER, PASSWORD, TOKEN)
SERVER = f"http://{USER}:{PASSWORD}@127.0.0.1:1/?token={TOKEN}"
DATABASE = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:1/ledger?sslpassword={TOKEN}"
# Of a password also what a URI should hold as %2F alone, since people forget that.
secret_text = st.text("abcXYZ019-_.~!$*+/:@%", min_size=1, max_size=12).map(lambda s: f"S3{s}T")


def holds_no_secret(text: str) -> None:
    assert [secret for secret in SECRETS if secret in text] == []


def test_a_question_mark_in_a_password_hides_all_that_follows():
    assert without_credentials("http://u:p?w@host/x is away") == "http://*** is away"


@given(user=secret_text, password=secret_text, token=secret_text)
def test_no_part_of_a_secret_is_left_in_a_uri_or_in_a_text_that_quotes_it(user, password, token):
    uri = f"postgresql+psycopg2://{user}:{password}@host:5432/name?token={token}&x={token}"
    for text in (uri, f"cannot reach {uri}: refused", f"({uri!r})", f"at <{uri}>"):
        shown = without_credentials(text)
        assert "S3" not in shown
        assert "host:5432/name?token=***&x=***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/me@work/runs/mlflow.db",
        "http://127.0.0.1:5000",
        "http://host/a?b",
        "no study of resolution_matters in sqlite:///runs/mlflow.db; start it",
        "is it a = b? no: c",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text):
    assert without_credentials(text) == text


def test_a_request_that_a_library_quotes_without_its_host_is_hidden_too():
    said = f"Max retries exceeded with url: /api/2.0/mlflow?token={TOKEN}&b=1 (Caused by …)"
    assert TOKEN not in without_credentials(said)
    assert HIDDEN in without_credentials(said)


@pytest.mark.parametrize(
    "uri", [SERVER, DATABASE, f"{USER}:{PASSWORD}@127.0.0.1", f"x://{PASSWORD}@h"]
)
def test_an_error_of_the_ledger_says_where_and_shows_no_secret(uri, monkeypatch):
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)  # of ten, in 100 seconds
    with pytest.raises(LedgerError) as error:
        open_ledger(uri)
    holds_no_secret(str(error.value).replace(f"://{PASSWORD}@", "://"))
    assert "127.0.0.1" in str(error.value) or uri.startswith("x:")


def test_an_error_of_a_library_that_quotes_the_uri_shows_no_secret():
    with (
        pytest.raises(LedgerError, match="the ledger failed while asking") as error,
        ledger_errors("asking"),
    ):
        raise OSError(f"cannot reach {SERVER}")
    holds_no_secret(str(error.value))


def test_the_command_line_shows_no_secret_of_the_environment(tmp_path):
    """As a user types it: a real process, everything that it prints."""
    finished = subprocess.run(
        [sys.executable, "-m", "mlp_med.cli", "study", "status", "resolution_matters"],
        env={**os.environ, "MLFLOW_TRACKING_URI": SERVER, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    printed = finished.stdout + finished.stderr
    assert finished.returncode == 2
    assert "no tracking server answers at http://127.0.0.1:1/?token=***" in printed
    assert "Traceback" not in printed
    holds_no_secret(printed)


def test_a_defect_shows_no_secret_either(monkeypatch, capsys):
    from mlp_med import cli

    def app() -> None:
        raise RuntimeError(f"defect at {SERVER}")

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert "RuntimeError: defect at http://127.0.0.1:1/" in printed.err
    holds_no_secret(printed.out + printed.err)


def test_the_ui_gets_its_uri_by_its_environment_and_not_as_an_argument(monkeypatch):
    started = {}

    class Server:
        pid = -1

        def __init__(self, command, env, **_):
            started.update(command=command, env=env)

        def wait(self, *_):
            return 0

    monkeypatch.setattr(ui, "open_ledger", lambda uri: Ledger(uri, None))
    monkeypatch.setattr(serving.subprocess, "Popen", Server)
    monkeypatch.setattr(serving.signal, "signal", lambda *_: None)
    monkeypatch.setattr(serving, "_end", lambda _: None)
    assert ui.serve_ui(DATABASE, 5000) == 0
    holds_no_secret(" ".join(started["command"]))
    assert started["env"]["MLFLOW_BACKEND_STORE_URI"] == DATABASE


def test_a_ledger_and_its_report_hold_no_secret(tmp_path):
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger/mlflow.db")
    run_id = write_study(ledger, asdict(CLAIM), num_seeds=2, message=f"lost {SERVER}")
    record = read_study(ledger, run_id)
    failed = record.in_state("failed")[0]
    assert failed.failure.message == "lost http://127.0.0.1:1/?token=***"
    holds_no_secret(commands(record, SERVER))
    holds_no_secret(repr(Ledger(SERVER, None)))
    write.fail_cell(ledger, failed.run_id, "killed", f"again {DATABASE}")
    for path in (tmp_path / "ledger").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in SECRETS), path
