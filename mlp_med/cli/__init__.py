"""The command line, `mlp-med`: one module a group of verbs.

Heavy imports wait inside the commands, so that --help is quick.
"""

import logging
import sys
import traceback

from rich.console import Console

import mlp_med.quiet_tensorflow  # noqa: F401  # whichever verb imports TensorFlow
from mlp_med.cli import (  # noqa: F401  # they register their verbs
    advise,
    compare,
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
from mlp_med.errors import MlpMedError
from mlp_med.ledger.credentials import without_credentials


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2, without a traceback.

    Nothing that is printed here shows what a tracking URI holds of a password or token.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)  # through it TensorFlow and TFDS speak
    try:
        app()
    except MlpMedError as error:
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        errors.print(f"error: {without_credentials(str(error))}", style="red", markup=False)
        sys.exit(2)
    except Exception:  # a defect of ours, whose report may be passed on
        sys.stderr.write(without_credentials(traceback.format_exc()))
        sys.exit(1)
