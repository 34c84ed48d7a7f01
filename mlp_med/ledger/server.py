"""MLflow's own tracking server over SQLite or PostgreSQL, with its artifacts and its logins."""

import configparser
import importlib.util
import ipaddress
import logging
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from mlp_med.errors import LedgerError
from mlp_med.ledger.serving import serve
from mlp_med.ledger.store import Ledger, open_ledger

logger = logging.getLogger(__name__)

ADMIN = "admin"
PASSWORD_VARIABLE = "MLFLOW_AUTH_ADMIN_PASSWORD"
SHORTEST_PASSWORD = 12  # MLflow's own rule
OWNER_ONLY = 0o600
EXTRA = "install the extra: pip install 'mlp-med[server]'"


@dataclass(frozen=True)
class Server:
    """What is served, and to whom.

    Attributes:
        directory: holds the artifacts, the logins, the generated password, and the database unless
            `backend_uri` names another.
        backend_uri: SQLite or PostgreSQL; "" for a SQLite file in `directory`.
        host: address to listen on.
        port: to listen on.
        with_logins: whether also a server on the loopback asks who is there.
        allowed_hosts: names under which other machines reach the server; addresses of private
            networks are known by themselves.
        num_processes: of the server.
    """

    directory: Path
    backend_uri: str = ""
    host: str = "127.0.0.1"
    port: int = 5000
    with_logins: bool = False
    allowed_hosts: tuple[str, ...] = ()
    num_processes: int = 2

    @property
    def asks_for_logins(self) -> bool:
        """Nobody but this machine is served without."""
        return self.with_logins or not is_loopback(self.host)


def run_server(server: Server) -> int:
    """Serves until Ctrl-C or SIGTERM, and leaves no process behind.

    Returns:
        The exit code for the command line.

    Raises:
        LedgerError: the extra `server` is missing, the database cannot be opened, the directory
            cannot be written, the port is taken, or the admin's password will not do.
    """
    directory = server.directory.absolute()
    ledger = _open_backend(server, directory)
    arguments = [
        "server",
        "--serve-artifacts",
        "--artifacts-destination",
        str(directory / "artifacts"),
        "--workers",
        str(server.num_processes),
    ]
    if begun_here := local_artifacts(ledger):
        logger.warning(
            "the artifacts of %s lie on this machine's disk, since they were begun without a "
            "server; other machines do not see them",
            ", ".join(begun_here),
        )
    environment = {"MLFLOW_BACKEND_STORE_URI": ledger.tracking_uri}
    if server.allowed_hosts:
        arguments += ["--allowed-hosts", _all_allowed(server.allowed_hosts)]
    if server.asks_for_logins:
        arguments += ["--app-name", "basic-auth"]
        environment |= _logins(directory)
    return serve(arguments, environment, server.host, server.port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def password_path(directory: Path) -> Path:
    """Where the generated password of the admin is kept, readable by its owner alone."""
    return directory / "admin_password"


def local_artifacts(ledger: Ledger) -> list[str]:
    """Names of the studies in the database whose artifacts lie on this machine's disk.

    They were begun without a server; a client on another machine would look for them on its own.
    """
    found = ledger.client.search_experiments()
    return [
        experiment.name
        for experiment in found
        if experiment.name != "Default"
        and (experiment.artifact_location or "").startswith(("/", "file:"))
    ]


def _open_backend(server: Server, directory: Path) -> Ledger:
    uri = server.backend_uri or f"sqlite:///{directory / 'mlflow.db'}"
    if not uri.startswith(("sqlite:", "postgresql")):
        scheme = uri.partition(":")[0]
        raise LedgerError(f"expected a database sqlite:///PATH or postgresql://…, got {scheme}:…")
    if uri.startswith("postgresql"):
        _require("psycopg2", "a PostgreSQL database")
    if server.asks_for_logins:
        _require("flask_wtf", "logins")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"cannot make the server's directory {directory}: {error}") from error
    return open_ledger(uri)


def _require(module: str, purpose: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise LedgerError(f"{purpose} needs {module}, which is not installed; {EXTRA}")


def _all_allowed(hosts: tuple[str, ...]) -> str:
    """MLflow's list replaces its own defaults, so that this machine is named again."""
    named = [name for host in ("localhost", "127.0.0.1", *hosts) for name in (host, f"{host}:*")]
    return ",".join(named)


def _logins(directory: Path) -> dict[str, str]:
    """What MLflow's basic-auth app reads: its configuration, the admin's password, a key."""
    database = directory / "logins.db"
    password = _password(directory)
    _refuse_another_password(database, password)
    configuration = configparser.ConfigParser(interpolation=None)
    configuration["mlflow"] = {
        "default_permission": "READ",
        "database_uri": f"sqlite:///{database}",
        "admin_username": ADMIN,
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
    path = directory / "logins.ini"
    try:
        with path.open("w") as file:
            configuration.write(file)
        database.touch(OWNER_ONLY)
    except OSError as error:
        raise LedgerError(f"cannot write the logins to {directory}: {error}") from error
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(path),
        PASSWORD_VARIABLE: password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }


def _password(directory: Path) -> str:
    """The admin's: from the environment, from the file of an earlier start, or a new one."""
    if given := os.environ.get(PASSWORD_VARIABLE):
        if len(given) < SHORTEST_PASSWORD:
            raise LedgerError(
                f"expected a password of at least {SHORTEST_PASSWORD} characters in "
                f"{PASSWORD_VARIABLE}, got {len(given)}"
            )
        return given
    path = password_path(directory)
    try:
        with open(  # Path.open takes no opener
            path, "x", opener=lambda name, flags: os.open(name, flags, OWNER_ONLY)
        ) as file:
            file.write(secrets.token_urlsafe(24))
    except FileExistsError:
        pass
    except OSError as error:
        raise LedgerError(f"cannot write the admin's password to {path}: {error}") from error
    return path.read_text().strip()


def _refuse_another_password(database: Path, password: str) -> None:
    """MLflow sets the admin's password once; another one given later would have no effect."""
    if not database.exists() or not database.stat().st_size:
        return
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(f"sqlite:///{database}")
    is_known = store.has_user(ADMIN)
    is_right = not is_known or store.authenticate_user(ADMIN, password)
    store.engine.dispose()
    if not is_right:
        raise LedgerError(
            f"the admin's password is not the one that {database} was made with; give that one in "
            f"{PASSWORD_VARIABLE}, or change it through MLflow's client (update_user_password)"
        )
