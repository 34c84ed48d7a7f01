"""`mlp-med study compare`: two studies, commits or machines side by side."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from mlp_med.cli.app import DEFAULT_TRACKING_URI, TrackingUri, console, study_app

if TYPE_CHECKING:
    from rich.table import Table

    from mlp_med.reports.comparison import ArmComparison, Comparison, Side

WHICH = "Run id of a study, its name for the newest, or NAME@COMMIT for the newest of a commit."


@study_app.command("compare")
def compare(
    a: Annotated[str, typer.Argument(help=WHICH)],
    b: Annotated[str, typer.Argument(help="The other, told likewise.")],
    dataset: Annotated[str | None, typer.Option("--dataset", help="Of studies by name.")] = None,
    size: Annotated[str | None, typer.Option("--size", help="Of studies by name.")] = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
    tracking_uri_b: Annotated[
        str | None, typer.Option("--tracking-uri-b", help="Ledger of B, of another machine.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Put two studies side by side, arm by arm: AUC, time, memory, cells alike, what differs."""
    from mlp_med.reports.comparison import compare_studies

    sides = [
        _find(which, uri, dataset, size)
        for which, uri in ((a, tracking_uri), (b, tracking_uri_b or tracking_uri))
    ]
    found = compare_studies(*sides)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1, ensure_ascii=False))
        return
    for letter, side in zip("AB", sides, strict=True):
        console.print(f"{letter}: {_title(side)}", markup=False)
    console.print(_table(found))
    for line in _notes(found):
        console.print(line, markup=False)


def _find(which: str, tracking_uri: str, dataset: str | None, size: str | None) -> "Side":
    from experiments import STUDIES
    from mlp_med.errors import LedgerError
    from mlp_med.ledger.read import find_studies, read_study
    from mlp_med.ledger.store import ledger_to_read
    from mlp_med.reports.comparison import Side

    ledger = ledger_to_read(tracking_uri)
    name, _, commit = which.partition("@")
    if name not in STUDIES:
        return Side(ledger, read_study(ledger, which))
    if not commit:
        return Side(ledger, read_study(ledger, name=name, dataset=dataset, size=size))
    for run_id in find_studies(ledger, name, dataset=dataset, size=size):
        record = read_study(ledger, run_id)
        if record.tags.get("commit", "").startswith(commit):
            return Side(ledger, record)
    raise LedgerError(
        f"no study {name} of commit {commit} in {ledger.tracking_uri}; mlp-med ui shows the commits"
    )


def _title(side: "Side") -> str:
    tags = side.record.tags
    phantom = ", PHANTOM" if tags.get("phantom") == "true" else ""
    about = f"{tags.get('size')}, {tags.get('dataset')}{phantom}"
    commit = tags.get("commit", "unknown")
    return f"{side.record.name} ({about}), run {side.record.run_id}, commit {commit[:12]}"


def _table(found: "Comparison") -> "Table":
    from rich.table import Table
    from rich.text import Text

    mark = " (PHANTOM)" if found.phantom else ""
    table = Table(title=f"B beside A, arm by arm{mark}", title_justify="left")
    table.add_column("arm", overflow="fold")
    for name in ("seeds", "test AUC in A", "in B", "B − A (95 %)", "time", "memory", "cells alike"):
        table.add_column(name, justify="right")
    for arm in found.arms:
        table.add_row(
            Text(arm.arm),
            f"{arm.seeds[0]}, {arm.seeds[1]}",
            f"{arm.auc[0]:.4f}",
            f"{arm.auc[1]:.4f}",
            _effect(arm),
            _times(arm.seconds_ratio),
            _times(arm.memory_ratio),
            f"{arm.identical} of {arm.same_cells}" if arm.same_cells else "–",
        )
    return table


def _effect(arm: "ArmComparison") -> str:
    if arm.ci_low is None or arm.ci_high is None:
        return f"{arm.effect:+.4f}"
    return f"{arm.effect:+.4f} ({arm.ci_low:+.4f} to {arm.ci_high:+.4f})"


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"× {ratio:.2f}"


def _notes(found: "Comparison") -> list[str]:
    lines = ["time and memory: B over A. Cells alike: same hash in both, and scores bit for bit."]
    for arm in found.arms:
        if arm.unpaired:
            lines.append(f"{arm.arm}: no interval: {arm.unpaired}")
        if arm.same_cells > arm.identical and arm.largest_difference is not None:
            lines.append(
                f"{arm.arm}: scores of a cell differ by up to {arm.largest_difference:.3g}"
            )
        lines += [
            f"{arm.arm}: {name} is {then} in A, {now} in B"
            for name, (then, now) in arm.changed.items()
        ]
    for letter, arms in zip("AB", found.only, strict=True):
        if arms:
            lines.append(f"in {letter} alone: {', '.join(arms)}")
    lines += [f"{name}: {then} in A, {now} in B" for name, (then, now) in found.differs.items()]
    return lines if found.differs else [*lines, "nothing that is recorded differs between them"]
