"""The command line, `mlp-med`: one module a group of verbs.

Heavy imports wait inside the commands, so that --help is quick.
"""

import sys

from rich.console import Console

from mlp_med.cli import (  # noqa: F401  # they register their verbs
    advise,
    computed,
    controls,
    data,
    froc,
    froc_slides,
    ledger,
    phantom,
    plan,
    platforms,
    rerun,
    serve,
    study,
    submission,
    verdict,
    verify,
)
from mlp_med.cli.app import app
from mlp_med.cli.datasets import quiet_tensorflow
from mlp_med.errors import MlpMedError


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2, without a traceback."""
    quiet_tensorflow()
    try:
        app()
    except MlpMedError as error:
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        errors.print(f"error: {error}", style="red", markup=False)
        sys.exit(2)
