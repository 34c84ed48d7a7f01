"""`mlp-med platforms`: what machines have, by data sheet, and this one by measurement."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mlp_med.cli.app import app, console

if TYPE_CHECKING:
    from mlp_med.capacity.platforms import Platform


@app.command("platforms")
def platforms(
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure this machine, in about ten seconds.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Keep what was measured, for --catalogue.")
    ] = None,
    catalogue: Annotated[
        Path | None, typer.Option("--catalogue", help="TOML file of more platforms.")
    ] = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Also say where each figure is from.")
    ] = False,
) -> None:
    """List the catalogue of platforms; with --measure, this machine beside them."""
    from mlp_med.capacity.platforms import catalogue as read_catalogue
    from mlp_med.errors import CapacityError

    if out is not None and not measure:
        raise CapacityError("--out keeps what --measure found; give both")
    found = read_catalogue(catalogue)
    if measure:
        here = measured_platform(out)
        found[here.name] = here
    console.print(_table(found))
    for platform in found.values():
        origin = ", measured" if platform.measured else ""
        console.print(f"{platform.name}: {platform.title}{origin}", markup=False)
        for figure, source in platform.sources.items() if sources else ():
            console.print(f"  {figure}: {source}", markup=False)


def measured_platform(out: Path | None) -> "Platform":
    """This machine, measured; kept in `out` if there is one."""
    from mlp_med.capacity.this_machine import as_platform, as_toml, measure_speeds, memory_bytes
    from mlp_med.cores import available_cores
    from mlp_med.errors import CapacityError

    folder = Path.cwd() if out is None else out.absolute().parent
    try:
        here = as_platform(measure_speeds(folder, available_cores()), memory_bytes())
        if out is not None:
            out.write_text(as_toml(here), "utf-8")
    except OSError as error:
        raise CapacityError(
            f"cannot measure the disk or write in {folder}: {error}; run it in a folder that you "
            "may write to"
        ) from error
    return here


def _table(found: "dict[str, Platform]") -> Table:
    from mlp_med.capacity.amounts import show_bytes

    table = Table("name", "memory", "GB/s", "fp32 TFLOP/s", "bf16 TFLOP/s", "W")
    for column in table.columns[1:]:
        column.justify = "right"
    table.columns[0].no_wrap = True
    for platform in found.values():
        peaks = (platform.peak_flops.get(name) for name in ("float32", "mixed_bfloat16"))
        table.add_row(
            platform.name,
            show_bytes(platform.memory_bytes),
            _number(platform.bandwidth, 1e9),
            *(_number(peak, 1e12) for peak in peaks),
            _number(platform.power_w, 1.0),
        )
    return table


def _number(value: float | None, scale: float) -> str:
    if value is None:
        return "–"
    shown = value / scale
    return f"{shown:,.0f}" if shown >= 100 else f"{shown:.3g}"
