"""Opens the MLflow tracking store: a local SQLite file by default, any tracking server by URI.

MLflow is imported when a ledger is opened, not before: it takes seconds, and the command line has
to answer `--help` without it.
"""

import errno
import fcntl
import logging
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mlp_med.errors import LedgerError, LedgerUnavailableError
from mlp_med.ledger.credentials import without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE_PREFIX = "sqlite:///"
DATABASE_SCHEMES = ("sqlite", "postgresql", "mysql", "mssql")
SERVER_TIMEOUT_SECONDS = 10
RETRIED_STATUS = (429, 502, 503, 504)
REFUSED_BY_THE_DISK = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR)
# MLflow's own client would try for four minutes where a server refuses, and for a quarter of an
# hour where it hangs: a cell at its end waits for 10 seconds and for two minutes instead, and its
# result is then kept until the server is back. A user's own settings hold.
CLIENT_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "300",
}


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

    def require_answer(self) -> None:
        """Asks a server once whether it is there; a database is not asked.

        Raises:
            LedgerUnavailableError: nothing answers, or a proxy whose server is down.
        """
        if self.tracking_uri.startswith(("http://", "https://")):
            _require_answer(self.tracking_uri)

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
    # A page of traceback for each full disk or lost database, whose reason our error gives.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    for name, value in CLIENT_PATIENCE.items():
        os.environ.setdefault(name, value)
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
    if scheme == "postgresql":  # SQLAlchemy's default driver is not the one of our extra
        tracking_uri = tracking_uri.replace("postgresql:", "postgresql+psycopg2:", 1)
    return Ledger(tracking_uri, _connect(tracking_uri))


def existing_ledger(tracking_uri: str) -> Ledger | None:
    """The ledger, or None where it would be a database that is not there: to look makes none."""
    path = tracking_uri.removeprefix(SQLITE_PREFIX)
    if path != tracking_uri and not Path(path).exists():
        return None
    return open_ledger(tracking_uri)


def ledger_to_read(tracking_uri: str) -> Ledger:
    """The ledger, which must be there: who only reads makes none in a mistyped place.

    Raises:
        LedgerError: there is none; and as `open_ledger`.
    """
    ledger = existing_ledger(tracking_uri)
    if ledger is None:
        raise LedgerError(
            f"there is no ledger {tracking_uri}; start one with mlp-med study run, or name another "
            "with --tracking-uri"
        )
    return ledger


@contextmanager
def ledger_errors(action: str) -> Iterator[None]:
    """Turns what MLflow, a database or the disk raise while doing `action` into a LedgerError.

    Raises:
        LedgerUnavailableError: what failed may work later: no answer, a full disk, a lost database.
        LedgerError: it will fail again.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        reason = without_credentials(str(error)).strip().splitlines() or [type(error).__name__]
        kind = LedgerUnavailableError if _may_work_later(error) else LedgerError
        raise kind(f"the ledger failed while {action}: {reason[0]}") from error


def _may_work_later(error: BaseException) -> bool:
    """Whether the network, the server or the disk failed, and not what was asked of them."""
    from mlflow.exceptions import MlflowException, RestException

    if isinstance(error, MlflowException) and error.get_http_status_code() in RETRIED_STATUS:
        return True
    if isinstance(error, RestException):
        return False  # the server answered, and refused
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    return any(map(_is_passing, causes))


def _is_passing(cause: BaseException) -> bool:
    from requests.exceptions import HTTPError, RequestException
    from sqlalchemy.exc import OperationalError

    if isinstance(cause, HTTPError):
        return cause.response is None or cause.response.status_code in RETRIED_STATUS
    lost = (RequestException, OperationalError, sqlite3.OperationalError)
    if isinstance(cause, (*lost, ConnectionError, TimeoutError)):
        return True
    # A file that is not there has no number: MLflow raises a bare OSError for an artifact.
    return isinstance(cause, OSError) and cause.errno not in (None, *REFUSED_BY_THE_DISK)


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
        if isinstance(error, ImportError):
            first_line += " (the extra server has it: pip install 'mlp-med[server]')"
        kind = LedgerUnavailableError if _may_work_later(error) else LedgerError
        raise kind(
            f"expected an MLflow tracking store at {without_credentials(tracking_uri)}, got: "
            f"{without_credentials(first_line)}; check the "
            "URI, its credentials, and that it is MLflow that answers there"
        ) from error
    return client


def _other_schema(tracking_uri: str) -> str:
    import mlflow

    tracking_uri = without_credentials(tracking_uri)
    return (
        f"the ledger at {tracking_uri} was made by another version of MLflow than this one "
        f"({mlflow.__version__}); was it a newer one, install that (pip install -U mlflow); was it "
        f"an older one, keep a copy and run: mlflow db upgrade {tracking_uri}"
    )


def _require_answer(server_uri: str) -> None:
    """Asks once, since MLflow's own client would try for longer, and for each request again."""
    address = without_credentials(server_uri)
    try:
        bare = urlsplit(address)._replace(query="").geturl()
        urllib.request.urlopen(bare, timeout=SERVER_TIMEOUT_SECONDS).close()
        return
    except urllib.error.HTTPError as error:
        error.close()
        if error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
            return  # it answered; whether it is MLflow, the client finds out
        reason = str(error)
    except (OSError, ValueError, HTTPException) as error:
        reason = str(error)
    raise LedgerUnavailableError(
        f"no tracking server answers at {address}: {reason}; start it, or check the address"
    )


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
