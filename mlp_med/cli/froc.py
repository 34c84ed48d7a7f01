"""`mlp-med froc`: LUNA16's official evaluation of a submission."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mlp_med.cli.app import app, console

if TYPE_CHECKING:
    from mlp_med.evidence.froc import Froc
    from mlp_med.evidence.marks import MatchedMarks

FINDINGS = "csv: seriesuid, coordX, coordY, coordZ, diameter_mm."


@app.command("froc")
def froc_of_submission(
    submission: Annotated[
        Path, typer.Argument(help="csv: seriesuid, coordX, coordY, coordZ, probability.")
    ],
    annotations: Annotated[Path, typer.Option("--annotations", help=FINDINGS)],
    series: Annotated[Path, typer.Option("--series", help="csv of the scans that were read.")],
    excluded: Annotated[
        Path | None, typer.Option("--excluded", help=f"Findings that are irrelevant; {FINDINGS}")
    ] = None,
    num_bootstrap: Annotated[
        int, typer.Option("--bootstrap", min=0, help="Resamples of whole scans; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of the resampling.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Sensitivity at ⅛ to 8 false positives a scan, and their mean, as LUNA16 computes them."""
    from mlp_med.evidence.froc import froc
    from mlp_med.evidence.mark_tables import read_findings, read_marks, read_series
    from mlp_med.evidence.marks import match_marks

    marks, nodules = read_marks(submission), read_findings(annotations)
    irrelevant = nodules.iloc[:0] if excluded is None else read_findings(excluded)
    matched = match_marks(marks, nodules, irrelevant, read_series(series))
    found = froc(matched.detections, num_bootstrap=num_bootstrap, seed=seed)
    if as_json:
        typer.echo(json.dumps(_content(matched, found), indent=1))
        return
    console.print(_table(found))
    for line in _remarks(matched):
        console.print(line, markup=False)


def _content(matched: "MatchedMarks", found: "Froc") -> dict[str, Any]:
    """Plain values; what a bootstrap would have said is null without one."""
    true_positives = _num_found(matched)
    num_nodules = len(matched.detections.lesion_scores)

    def plain(values: Any) -> list[float | None]:
        return [None if math.isnan(value) else round(float(value), 6) for value in values]

    return {
        "true_positives": true_positives,
        "false_positives": len(matched.detections.false_scores),
        "false_negatives": num_nodules - true_positives,
        "candidates_kept": matched.num_marks,
        "nodules": num_nodules,
        "ignored_on_excluded": matched.ignored_on_excluded,
        "ignored_double": matched.ignored_double,
        "over_limit": matched.over_limit,
        "in_unknown_scans": matched.unknown_scans,
        "scans": matched.detections.num_scans,
        "fp_per_scan": list(found.rates),
        "sensitivity": plain(found.sensitivities),
        "sensitivity_low": plain(found.low),
        "sensitivity_high": plain(found.high),
        "cpm": plain([found.cpm])[0],
        "cpm_low": plain([found.cpm_low])[0],
        "cpm_high": plain([found.cpm_high])[0],
        "num_bootstrap": found.num_bootstrap,
    }


def _table(found: "Froc") -> Table:
    table = Table("false positives a scan", "sensitivity", "95 % interval (scans resampled)")
    rows = zip(found.rates, found.sensitivities, found.low, found.high, strict=True)
    for rate, sensitivity, low, high in rows:
        table.add_row(f"{rate:g}", f"{sensitivity:.3f}", _interval(low, high))
    table.add_section()
    table.add_row("mean (CPM)", f"{found.cpm:.3f}", _interval(found.cpm_low, found.cpm_high))
    return table


def _interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{low:.3f} to {high:.3f}"


def _num_found(matched: "MatchedMarks") -> int:
    return int((matched.detections.lesion_scores > -math.inf).sum())


def _remarks(matched: "MatchedMarks") -> list[str]:
    detections = matched.detections
    lines = [
        f"{_num_found(matched):,} of {len(detections.lesion_scores):,} nodules were found by "
        f"{matched.num_marks:,} marks in {detections.num_scans:,} scans; "
        f"{len(detections.false_scores):,} marks are false positives",
        f"left out: {matched.ignored_on_excluded:,} marks on excluded findings, "
        f"{matched.ignored_double:,} further marks on a nodule, {matched.over_limit:,} beyond the "
        "most suspicious 100 of their scan",
    ]
    if matched.unknown_scans:
        lines.append(
            f"{matched.unknown_scans:,} marks name a scan that is not among those read; are the "
            "files of one release?"
        )
    return lines
