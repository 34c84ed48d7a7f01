"""Opens the MLflow tracking store: a local SQLite file by default, any tracking server by URI.

MLflow is imported when a ledger is opened, not before: it takes seconds, and the command line has
to answer `--help` without it.
"""

import fcntl
import logging
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mlp_med.errors import LedgerError
from mlp_med.ledger.credentials import without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE_PREFIX = "sqlite:///"
DATABASE_SCHEMES = ("sqlite", "postgresql", "mysql", "mssql")
SERVER_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Ledger:
    """An open tracking store.

    Attributes:
        tracking_uri: where it is, absolute: a process with another working directory opens the
            same one.
        client: MLflow's own client.
        artifact_root: the directory beside a SQLite database that holds its artifacts; None where
            a server decides.
        lock_path: the file whose lock serialises what MLflow cannot do atomically; None where the
            database is not a local file.
    """

    tracking_uri: str = field(repr=False)  # it may hold a password
    client: "MlflowClient"
    artifact_root: Path | None = None
    lock_path: Path | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the ledger's file lock; nothing is locked on a server."""
        if self.lock_path is None:
            yield
            return
        with _file_lock(self.lock_path):
            yield


def open_ledger(tracking_uri: str) -> Ledger:
    """Opens the tracking store at `tracking_uri`; a SQLite database is made if there is none.

    Any number of processes may open the same fresh database at once: one of them makes it, under a
    file lock and under another name, so that a database that exists is whole.

    Args:
        tracking_uri: `sqlite:///runs/mlflow.db` (relative to the working directory),
            `sqlite:////absolute/mlflow.db`, or the URI of a database or tracking server.

    Raises:
        LedgerError: the URI means nothing to MLflow, the database cannot be written, it was made
            by another version of MLflow, or the server does not answer.
    """
    # Set before the import: MLflow reads them while it is imported. Overwritten, not defaulted:
    # whether a study phones home is not left to the environment.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    if tracking_uri.startswith("sqlite:"):
        return _open_sqlite(_database_path(tracking_uri))
    scheme, separator, _ = tracking_uri.partition("://")
    if not separator or scheme in ("file", ""):
        raise LedgerError(
            "expected a tracking URI such as sqlite:///runs/mlflow.db or http://host:5000, got "
            f"{without_credentials(tracking_uri).rpartition('@')[2]!r}; for a directory of yours, "
            "write sqlite:///DIRECTORY/mlflow.db (MLflow has given up its plain-file store)"
        )
    if scheme in ("http", "https"):
        _require_answer(tracking_uri)
    return Ledger(tracking_uri, _connect(tracking_uri))


@contextmanager
def ledger_errors(action: str) -> Iterator[None]:
    """Turns what MLflow, SQLite or the disk raise while doing `action` into a LedgerError."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, sqlite3.Error, OSError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        said = without_credentials(f"the ledger failed while {action}: {reason[0]}")
        raise LedgerError(said) from error


def _database_path(tracking_uri: str) -> Path:
    path = tracking_uri.removeprefix(SQLITE_PREFIX)
    if path in ("", ":memory:") or path == tracking_uri or "?" in path:
        raise LedgerError(
            "expected sqlite:///PATH, without options, since every cell is a process of its own "
            f"and opens the same file, got {without_credentials(tracking_uri)!r}"
        )
    return Path(path).absolute()


def _open_sqlite(database: Path) -> Ledger:
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  (slow: not while others wait)

    lock_path = database.with_name(database.name + ".lock")
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with _file_lock(lock_path):
            if not database.exists():
                _make_database(database)
            _require_writable(database)
            client = _connect(f"{SQLITE_PREFIX}{database}")
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(
            f"cannot write the ledger {database}: {error}; give a path on a disk that you may "
            "write to and that is not full (--tracking-uri sqlite:///PATH)"
        ) from error
    artifact_root = database.parent / "artifacts"
    return Ledger(f"{SQLITE_PREFIX}{database}", client, artifact_root, lock_path)


def _make_database(database: Path) -> None:
    """Makes the tables in a file of another name and moves it to `database` when it is whole."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    unfinished = database.with_name(database.name + ".unfinished")
    for leftover in (unfinished, unfinished.with_name(unfinished.name + "-journal")):
        leftover.unlink(missing_ok=True)
    with _quiet("mlflow.store.db.utils"), ledger_errors(f"making {database}"):
        store = SqlAlchemyStore(
            f"{SQLITE_PREFIX}{unfinished}", str(database.parent / "artifacts" / "default")
        )
        store.engine.dispose()
    with closing(sqlite3.connect(unfinished)) as connection:
        # Readers (the UI, a report) and the writing cells then never wait for one another.
        connection.execute("PRAGMA journal_mode = WAL")
    unfinished.replace(database)


def _require_writable(database: Path) -> None:
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


def _connect(tracking_uri: str) -> "MlflowClient":
    from alembic.util.exc import CommandError
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        client = MlflowClient(tracking_uri)
        client.search_experiments(max_results=1)
    except (MlflowException, CommandError, SQLAlchemyError, ImportError) as error:
        if "schema" in str(error) or "revision" in str(error):
            raise LedgerError(_other_schema(tracking_uri)) from error
        first_line = (str(error).splitlines() or [""])[0]
        raise LedgerError(
            without_credentials(
                f"expected an MLflow tracking store at {tracking_uri}, got: {first_line}; check "
                "the URI, its credentials, and that it is MLflow that answers there"
            )
        ) from error
    return client


def _other_schema(tracking_uri: str) -> str:
    import mlflow

    shown = without_credentials(tracking_uri)
    return (
        f"the ledger at {shown} was made by another version of MLflow than this one "
        f"({mlflow.__version__}); was it a newer one, install that (pip install -U mlflow); was it "
        f"an older one, keep a copy and run: mlflow db upgrade {shown}"
    )


def _require_answer(server_uri: str) -> None:
    """Asks once, since MLflow's own client would try for minutes."""
    try:
        # Whether it lets us in, the client finds out; urllib takes a user for part of the host.
        address = urlsplit(server_uri)
        bare = address._replace(netloc=address.netloc.rpartition("@")[2], query="").geturl()
        urllib.request.urlopen(bare, timeout=SERVER_TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()  # it answered; whether it is MLflow, the client finds out
    except (OSError, ValueError) as error:
        raise LedgerError(
            without_credentials(
                f"no tracking server answers at {server_uri}: {error}; start it, or check the "
                "address"
            )
        ) from error


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel even after kill -9
        yield


@contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
