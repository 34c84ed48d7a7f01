"""Writes the report of a study: the page, its figures and verdict.json, from the ledger alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mlp_med.evidence.calibration import CalibrationRecord
from mlp_med.evidence.controls import Controls
from mlp_med.evidence.table import ArmRow
from mlp_med.ledger.read import StudyRecord, load_crops
from mlp_med.ledger.store import Ledger
from mlp_med.ledger.study_run import log_report
from mlp_med.reports.analysis import Analysis, analyse
from mlp_med.reports.calibration_figure import draw_calibration
from mlp_med.reports.figures import (
    draw_auc_by_resolution,
    draw_cost,
    draw_curves,
    draw_forest,
    to_svg,
)
from mlp_med.reports.files import PAGE, VERDICT, write_page
from mlp_med.reports.formatting import at_start
from mlp_med.reports.fraction_figure import draw_auc_by_fraction
from mlp_med.reports.frontier_figure import draw_frontier
from mlp_med.reports.memory_budget import draw_equal_memory
from mlp_med.reports.page import contrast_name, phantom_mark, render_page
from mlp_med.reports.strata import draw_strata
from mlp_med.reports.study_data import StudyData, load_study_data

FIGURES = (
    "auc_by_resolution",
    "auc_by_fraction",
    "equal_memory",
    "contrasts",
    "strata",
    "curves",
    "cost",
    "frontier",
    "calibration",
)


@dataclass(frozen=True)
class ReportPaths:
    """What was written.

    Attributes:
        page: the self-contained HTML page.
        verdict: verdict.json.
        figures: each figure as SVG and PNG.
        sentence: the verdict, for the terminal.
    """

    page: Path
    verdict: Path
    figures: tuple[Path, ...]
    sentence: str


def write_report(
    ledger: Ledger,
    record: StudyRecord,
    out_dir: Path,
    *,
    controls: Controls,
    calibration: CalibrationRecord | None = None,
) -> ReportPaths:
    """Writes the page, the figures and verdict.json, and keeps them with the study in the ledger.

    Everything is made before anything in `out_dir` is replaced, so that a report that cannot be
    made leaves the old one as it was.

    Args:
        ledger: an open ledger.
        record: the study.
        out_dir: made if absent.
        controls: what the record of the phantom's controls says of the study's code.
        calibration: the record of simulated studies, shown as a figure; None where there is none.

    Raises:
        LedgerError: the ledger cannot be read or written, or `out_dir` cannot be written.
        EvidenceError: the cells' predictions do not fit together.
    """
    data = load_study_data(ledger, record)
    analysis = analyse(record, data, controls)
    figures = draw_figures(record, data, analysis)
    if calibration is not None:
        title = "Simulated studies whose true effect is the margin"
        figures["calibration"] = draw_calibration(calibration.table, title=title)
    svg = {name: to_svg(figure) for name, figure in figures.items()}
    page = render_page(
        record,
        data,
        analysis,
        figures=svg,
        crops=load_crops(ledger, record.run_id),
        tracking_uri=ledger.tracking_uri,
        calibration=calibration,
    )
    written = write_page(
        out_dir,
        page=page,
        verdict=analysis.to_dict(),
        figures=figures,
        svg=svg,
        possible_figures=FIGURES,
    )
    paths = ReportPaths(
        page=out_dir / PAGE,
        verdict=out_dir / VERDICT,
        figures=written,
        sentence=analysis.verdict.sentence,
    )
    _keep_in_ledger(ledger, record, analysis, paths)
    return paths


def draw_figures(record: StudyRecord, data: StudyData, analysis: Analysis) -> dict[str, Figure]:
    """The figures by name, without those that there is nothing to show in."""
    mark = phantom_mark(analysis.verdict.phantom)
    where = f"{analysis.verdict.dataset}{mark}"
    unit = record.plan["dataset"]["unit"]
    margin = analysis.verdict.claim.margin
    metric = analysis.verdict.claim.metric_name
    figures: dict[str, Figure] = {}
    shares_memory = bool(record.plan.get("memory"))  # several batches at one resolution: no line
    if len({row.resolution for row in analysis.whole}) > 1 and not shares_memory:
        figures["auc_by_resolution"] = draw_auc_by_resolution(
            _arm_frame(analysis, analysis.whole),
            _seed_frame(analysis, analysis.whole),
            unit=unit,
            title=f"{at_start(metric)} against resolution, {where}",
            metric=metric,
        )
    if analysis.by_fraction:
        figures["auc_by_fraction"] = draw_auc_by_fraction(
            _arm_frame(analysis, analysis.by_fraction),
            _seed_frame(analysis, analysis.by_fraction),
            num_cases=record.plan["dataset"]["num_cases"]["train"],
            title=f"{at_start(metric)} against training data, {where}",
            metric=metric,
        )
    if shares_memory and analysis.compared:
        figures["equal_memory"] = draw_equal_memory(
            record.plan["memory"],
            _trade_frame(data, analysis),
            unit=unit,
            title=f"What one memory holds, {where}",
            metric=metric,
        )
    if data.arms and data.cells["resolution"].nunique() > 1:
        figures["cost"] = draw_cost(
            data.cells, unit=unit, title=f"Time and memory against resolution, {where}"
        )
    if len(analysis.whole) > 1:
        costs = _cost_frame(analysis)
        figures["frontier"] = draw_frontier(costs, title=f"What an AUC takes, {where}")
    contrasts = _contrast_frame(analysis)
    if len(contrasts):
        figures["contrasts"] = draw_forest(
            contrasts, margin=margin, title=f"Differences between arms, {where}", metric=metric
        )
    strata = draw_strata(analysis.strata, margin=margin, where=where, metric=metric)
    if strata is not None:
        figures["strata"] = strata
    if len(data.curves):
        figures["curves"] = draw_curves(
            data.curves,
            data.arms,
            title=f"Validation {metric} while training, {where}",
            metric=metric,
        )
    return figures


def _arm_frame(analysis: Analysis, rows: Iterable[ArmRow]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "arm": row.arm,
            "line": analysis.line_of(row),
            "training_fraction": analysis.training_fraction[row.arm],
            "resolution": row.resolution,
            "control": row.control,
            "mean_auc": row.estimate.mean_auc,
            "ci_low": row.estimate.ci_low,
            "ci_high": row.estimate.ci_high,
        }
        for row in rows
    ).astype({"ci_low": float, "ci_high": float})


def _cost_frame(analysis: Analysis) -> pd.DataFrame:
    """Of the arms that a user could take: none on a part of the training set."""
    frame = _arm_frame(analysis, analysis.whole)
    seconds = pd.Series([row.seconds for row in analysis.whole], dtype=float)
    memory = pd.Series([row.peak_memory_bytes for row in analysis.whole], dtype=float)
    return frame.assign(seconds=seconds, peak_memory_bytes=memory)


def _trade_frame(data: StudyData, analysis: Analysis) -> pd.DataFrame:
    """The arms with their batch, and whether that is computed at once."""
    settings = data.cells.groupby("arm")[["global_batch_size", "accumulation_steps"]].first()
    return _arm_frame(analysis, analysis.compared).join(settings, on="arm")


def _seed_frame(analysis: Analysis, rows: Iterable[ArmRow]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "arm": row.arm,
            "line": analysis.line_of(row),
            "training_fraction": analysis.training_fraction[row.arm],
            "resolution": row.resolution,
            "control": row.control,
            "seed": seed,
            "test_auc": auc,
        }
        for row in rows
        for seed, auc in zip(row.estimate.seeds, row.estimate.aucs, strict=True)
    )


def _contrast_frame(analysis: Analysis) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": contrast_name(name, analysis.verdict.claim),
            "effect": contrast.effect,
            "ci_low": contrast.ci_low,
            "ci_high": contrast.ci_high,
            "primary": name == "information",
        }
        for name, contrast in analysis.contrasts.items()
    )


def _keep_in_ledger(
    ledger: Ledger, record: StudyRecord, analysis: Analysis, paths: ReportPaths
) -> None:
    verdict = analysis.verdict
    metrics: dict[str, float] = {"margin": verdict.claim.margin}
    if verdict.contrast is not None:
        ends = {"ci_low": verdict.contrast.ci_low, "ci_high": verdict.contrast.ci_high}
        metrics |= {"effect": verdict.contrast.effect}
        metrics |= {name: end for name, end in ends.items() if end is not None}
    tags = {"verdict": verdict.outcome or "none", "verdict_sentence": verdict.sentence}
    files = [paths.page, paths.verdict, *paths.figures]
    log_report(ledger, record.run_id, files, tags=tags, metrics=metrics)
