"""`mlp-med advise`: what to train within a budget, by what the ledger holds."""

import functools
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlp_med.cli.app import (
    DEFAULT_DATA_DIR,
    DEFAULT_TRACKING_URI,
    DataDir,
    StudyDataset,
    TrackingUri,
    app,
    console,
)

if TYPE_CHECKING:
    from mlp_med.capacity.platforms import Platform
    from mlp_med.pipelines.datasets import DatasetDescription
    from mlp_med.reports.advice import Budget, Untried
    from mlp_med.reports.advice_options import Found


@app.command("advise")
def advise(
    dataset: StudyDataset = "luna16",
    memory: Annotated[
        str | None, typer.Option("--memory", help="Of one training run, e.g. 16GB.")
    ] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", help="Of one training run, at most.")
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option("--platform", help="Forecast for this machine; see `mlp-med platforms`."),
    ] = None,
    catalogue: Annotated[
        Path | None, typer.Option("--catalogue", help="TOML file of more platforms.")
    ] = None,
    study: Annotated[
        list[str] | None,
        typer.Option("--study", help="Run id of a study to draw on; repeat it. All if absent."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """The best resolution, batch and precision within a budget, out of what was trained."""
    from experiments import STUDIES
    from mlp_med.capacity.platforms import catalogue as read_catalogue
    from mlp_med.capacity.platforms import find_platform
    from mlp_med.ledger.store import ledger_to_read
    from mlp_med.pipelines.datasets import describe
    from mlp_med.reports.advice import advise as choose_within
    from mlp_med.reports.advice_options import load_options, studies_of
    from mlp_med.studies.cell_workload import forecast_cell

    machine = None if platform is None else find_platform(platform, read_catalogue(catalogue))
    budget = _budget(memory, hours, machine)
    ledger = ledger_to_read(tracking_uri)
    studies = studies_of(ledger, list(STUDIES), dataset, study or ())
    description = describe(dataset, data_dir)
    elsewhere = None
    if machine is not None:
        elsewhere = functools.partial(forecast_cell, description=description, platform=machine)
    found = load_options(ledger, studies, elsewhere)
    advice = choose_within(found, budget, _untried(found, budget, description, machine))
    if as_json:
        typer.echo(json.dumps(advice.to_dict(), indent=1, ensure_ascii=False))
        return
    for line in advice.lines():
        console.print(line, markup=False)


def _budget(memory: str | None, hours: float | None, machine: "Platform | None") -> "Budget":
    from mlp_med.capacity.amounts import parse_bytes
    from mlp_med.errors import CapacityError
    from mlp_med.reports.advice import Budget

    if hours is not None and not 0 < hours < math.inf:
        raise CapacityError(f"expected a positive number of hours, got {hours:g}")
    limits = [parse_bytes(memory)] if memory is not None else []
    limits += [machine.memory_bytes] if machine is not None else []
    return Budget(
        memory_bytes=min(limits, default=None),
        seconds=None if hours is None else 3600 * hours,
        place="" if machine is None else machine.title,
    )


def _untried(
    found: "Found",
    budget: "Budget",
    description: "DatasetDescription",
    machine: "Platform | None",
) -> "Untried | None":
    """Tells of a chosen cell what would fit beside it; None without a limit of memory."""
    from mlp_med.capacity.budget import Place
    from mlp_med.reports.formatting import UNITS
    from mlp_med.studies.cell_workload import untried

    if budget.memory_bytes is None:
        return None
    return functools.partial(
        untried,
        tried=[each.cell for each in found.trained],
        description=description,
        memory_bytes=budget.memory_bytes,
        num_cases=found.studies[0].plan["dataset"]["num_cases"],
        place=Place(platform=machine),
        unit=UNITS[description.unit],
    )
