"""`mlp-med study compute`: the studies that are computed from the capacity model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_med.cli.app import DEFAULT_TRACKING_URI, TrackingUri, console, study_app

if TYPE_CHECKING:
    import pandas as pd

    from mlp_med.capacity.platforms import Platform


@study_app.command("compute")
def study_compute(
    name: Annotated[str, typer.Argument(help="memory_fits or platforms.")],
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure this machine and train a few cells on it.")
    ] = False,
    price_per_hour: Annotated[
        float | None, typer.Option("--price-per-hour", help="Of one device, in your currency.")
    ] = None,
    catalogue: Annotated[
        Path | None, typer.Option("--catalogue", help="TOML file of more platforms.")
    ] = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Compute a study of memory or time on every platform, and keep it in the ledger."""
    import dataclasses

    from experiments import COMPUTED
    from mlp_med.capacity.platforms import catalogue as read_catalogue
    from mlp_med.cli.platforms import measured_platform
    from mlp_med.errors import StudyError
    from mlp_med.ledger.store import open_ledger
    from mlp_med.studies.computed import keep_study

    if name not in COMPUTED:
        raise StudyError(f"there is no computed study {name!r}; there are: {', '.join(COMPUTED)}")
    if price_per_hour is not None and not 0 < price_per_hour < float("inf"):
        raise StudyError(f"expected a price above 0 an hour, got {price_per_hour:g}")
    ledger = open_ledger(tracking_uri)
    platforms = read_catalogue(catalogue)
    if measure:
        here = measured_platform(None)
        platforms[here.name] = here
    every = list(platforms.values())
    tables = _memory_fits(every, price_per_hour) if name == "memory_fits" else _platforms(every)
    tables["measured"] = _cells(name, every if measure else [])
    options = ["--measure"] if measure else []
    options += ["--price-per-hour", f"{price_per_hour:g}"] if price_per_hour else []
    design: dict[str, Any] = {
        "options": options,
        "platforms": [dataclasses.asdict(platform) for platform in every],
    }
    keep_study(ledger, name, COMPUTED[name].QUESTION, design, tables)
    console.print(
        f"{name} is in the ledger; its page: mlp-med report {name} --out reports/{name}",
        markup=False,
    )


def _memory_fits(
    platforms: "list[Platform]", price_per_hour: float | None
) -> "dict[str, pd.DataFrame]":
    from experiments import memory_fits
    from mlp_med.studies.computed import feasibility

    found = feasibility(
        memory_fits.TASKS, memory_fits.BATCHES, platforms, price_per_hour=price_per_hour
    )
    return {"feasibility": found}


def _platforms(platforms: "list[Platform]") -> "dict[str, pd.DataFrame]":
    from experiments import platforms as experiment
    from mlp_med.studies.computed import rooflines, roofs

    return {
        "rooflines": rooflines(experiment.TASKS, experiment.BATCH, platforms),
        "roofs": roofs(platforms),
    }


def _cells(name: str, platforms: "list[Platform]") -> "pd.DataFrame":
    """What is trained here: on this machine, the last of the platforms, if it was measured."""
    from experiments import COMPUTED
    from mlp_med.cores import available_cores
    from mlp_med.studies.computed import measured_here

    experiment, here = COMPUTED[name], [p for p in platforms if p.name == "this-machine"]
    cells = experiment.MEASURED if here else ()
    return measured_here(
        experiment.TASKS, cells, here[0] if here else None, threads=available_cores()
    )
