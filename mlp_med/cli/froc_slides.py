"""`mlp-med froc-slides`: CAMELYON16's two tasks, scored on the test slides of a source."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mlp_med.cli.app import app, console

if TYPE_CHECKING:
    from mlp_med.evidence.froc import Froc
    from mlp_med.evidence.slides import MatchedSlideMarks, SlideAuc


@app.command("froc-slides")
def froc_of_slides(
    marks: Annotated[
        Path,
        typer.Argument(help="csv: slide, x_um, y_um (from the upper left corner), probability."),
    ],
    source: Annotated[Path, typer.Option("--source", help="Directory of CAMELYON16.")],
    scores: Annotated[
        Path | None,
        typer.Option("--scores", help="csv: slide, probability; for the AUC over slides."),
    ] = None,
    num_bootstrap: Annotated[
        int, typer.Option("--bootstrap", min=0, help="Resamples of whole slides; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of the resampling.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Lesions found at ¼ to 8 false positives a slide, and the AUC over slides (CAMELYON16)."""
    from mlp_med.evidence.froc import froc
    from mlp_med.evidence.mark_tables import read_slide_marks, read_slide_scores
    from mlp_med.evidence.slides import CAMELYON16_RATES, match_slide_marks, slide_auc
    from tfds_builders.camelyon16.truth import read_test_truth

    rows = read_slide_marks(marks)
    of_slides = None if scores is None else read_slide_scores(scores)
    truth = read_test_truth(source.expanduser().absolute())
    matched = match_slide_marks(rows, truth.lesions)
    found = froc(matched.detections, CAMELYON16_RATES, num_bootstrap=num_bootstrap, seed=seed)
    auc = None
    if of_slides is not None:
        auc = slide_auc(of_slides, truth.labels, num_bootstrap=num_bootstrap, seed=seed)
    if as_json:
        content = _content(matched, found, auc)
        typer.echo(json.dumps({"phantom": truth.phantom, **content}, indent=1))
        return
    console.print(_table(found, truth.phantom))
    for line in _remarks(matched, auc, truth.partly_annotated):
        console.print(line, markup=False)


def _content(matched: "MatchedSlideMarks", found: "Froc", auc: "SlideAuc | None") -> dict[str, Any]:
    """Plain values; what was not asked for is null."""
    return {
        "slides": matched.detections.num_scans,
        "lesions": len(matched.detections.lesion_scores),
        "isolated": matched.num_isolated,
        "marks": matched.num_marks,
        "false_positives": len(matched.detections.false_scores),
        "ignored_on_isolated": matched.ignored_on_isolated,
        "ignored_double": matched.ignored_double,
        "on_unknown_slides": matched.unknown_slides,
        "fp_per_slide": list(found.rates),
        "sensitivity": [_plain(value) for value in found.sensitivities],
        "sensitivity_low": [_plain(value) for value in found.low],
        "sensitivity_high": [_plain(value) for value in found.high],
        "score": _plain(found.cpm),
        "score_low": _plain(found.cpm_low),
        "score_high": _plain(found.cpm_high),
        "auc": None if auc is None else _plain(auc.auc),
        "auc_low": None if auc is None else _plain(auc.low),
        "auc_high": None if auc is None else _plain(auc.high),
        "num_bootstrap": found.num_bootstrap,
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)


def _table(found: "Froc", phantom: bool) -> Table:
    table = Table(
        "false positives a slide",
        "sensitivity",
        "95 % interval (slides resampled)",
        title="PHANTOM: drawn slides" if phantom else None,
    )
    rows = zip(found.rates, found.sensitivities, found.low, found.high, strict=True)
    for rate, sensitivity, low, high in rows:
        table.add_row(f"{rate:g}", f"{sensitivity:.3f}", _interval(low, high))
    table.add_section()
    table.add_row("mean (score)", f"{found.cpm:.3f}", _interval(found.cpm_low, found.cpm_high))
    return table


def _interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{low:.3f} to {high:.3f}"


def _remarks(
    matched: "MatchedSlideMarks", auc: "SlideAuc | None", partly_annotated: list[str]
) -> list[str]:
    detections = matched.detections
    num_found = int((detections.lesion_scores > -math.inf).sum())
    lines = [
        f"{num_found:,} of {len(detections.lesion_scores):,} lesions were found by "
        f"{matched.num_marks:,} marks on {detections.num_scans:,} slides; "
        f"{len(detections.false_scores):,} marks are false positives",
        f"left out: {matched.num_isolated:,} lesions of isolated tumour cells and "
        f"{matched.ignored_on_isolated:,} marks on them, {matched.ignored_double:,} further marks "
        "on a lesion",
    ]
    if partly_annotated:
        names = ", ".join(partly_annotated)
        lines.append(f"not searched, since not all tumour on them is annotated: {names}")
    if matched.unknown_slides:
        lines.append(
            f"{matched.unknown_slides:,} marks are on slides that are not among those searched"
        )
    if auc is not None:
        lines.append(
            f"AUC over {auc.num_tumour} slides with metastases and {auc.num_normal} without: "
            f"{auc.auc:.3f} ({_interval(auc.low, auc.high)})"
        )
    return lines
