"""`mlp-med serve`: a tracking server for studies on many machines."""

from pathlib import Path
from typing import Annotated

import typer

from mlp_med.cli.app import app, console


@app.command("serve")
def serve(
    directory: Annotated[
        Path,
        typer.Option("--directory", help="Holds database, artifacts and logins."),
    ] = Path("runs/server"),
    backend_store_uri: Annotated[
        str,
        typer.Option(
            "--backend-store-uri",
            envvar="MLFLOW_BACKEND_STORE_URI",
            show_envvar=True,
            help="sqlite:///PATH or postgresql://…; a SQLite file in the directory if absent. A "
            "URI with a password belongs into the environment: every user sees a command line.",
        ),
    ] = "",
    host: Annotated[
        str,
        typer.Option("--host", help="Address to listen on; beyond the loopback with logins only."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 5000,
    logins: Annotated[
        bool, typer.Option("--logins", help="Ask for user and password on the loopback too.")
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option("--allowed-host", help="A name that other machines call it by; repeat it."),
    ] = None,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Of the server.")] = 2,
) -> None:
    """Serve the ledger to other machines: MLflow's own server, until Ctrl-C (extra server)."""
    from mlp_med.ledger.server import ADMIN, PASSWORD_VARIABLE, Server, password_path, run_server

    server = Server(
        directory=directory,
        backend_uri=backend_store_uri,
        host=host,
        port=port,
        with_logins=logins,
        allowed_hosts=tuple(allowed_host or ()),
        num_processes=processes,
    )
    if server.asks_for_logins:
        console.print(
            f"logins: user {ADMIN}, password from {PASSWORD_VARIABLE} or else in "
            f"{password_path(directory)}; clients give them in MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD",
            markup=False,
        )
    raise typer.Exit(run_server(server))
