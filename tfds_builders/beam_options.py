"""What a user says of a Beam runner on the command line, checked before anything is read."""

import difflib
import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Any

from mlp_med.errors import DatasetError
from tfds_builders.beam_jobs import require_beam


def require_runner(runner: str) -> str:
    """The name of a runner, if Beam finds it.

    Raises:
        DatasetError: Beam is not installed, or has no such runner.
    """
    require_beam()
    from apache_beam.options.pipeline_options import StandardOptions
    from apache_beam.runners import create_runner

    try:
        create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        known = ", ".join(StandardOptions.KNOWN_RUNNER_NAMES)
        raise DatasetError(
            f"there is no Beam runner {runner!r} here ({error}); Beam knows {known}, or the full "
            "name of a class of yours"
        ) from error
    return runner


def pipeline_options(settings: Sequence[str]) -> Any:
    """Beam's `PipelineOptions` of settings such as "direct_num_workers=2", or a flag's bare name.

    Raises:
        DatasetError: Beam is not installed, knows no such option, or refuses its value.
    """
    require_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    flags = [f"--{setting.removeprefix('--')}" for setting in settings]
    refusal = io.StringIO()
    try:
        with redirect_stderr(refusal):
            options = PipelineOptions(flags)
            known = options.get_all_options()
    except SystemExit as error:  # argparse's way to refuse
        said = refusal.getvalue().strip().splitlines()[-1:] or ["a value that Beam refuses"]
        raise DatasetError(
            f"the Beam options {', '.join(settings)} cannot be used: {said[0]}"
        ) from error
    for flag in flags:
        name = flag.removeprefix("--").partition("=")[0]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise DatasetError(
                f"Beam has no option {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
            )
    return options
