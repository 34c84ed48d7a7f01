"""Writes the report of a study of several claims: page, figures, verdict.json."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mlp_med.evidence.controls import Controls
from mlp_med.ledger.read import StudyRecord
from mlp_med.ledger.store import Ledger
from mlp_med.ledger.study_run import log_report
from mlp_med.reports.analysis import own_control_arms
from mlp_med.reports.batch_figure import draw_auc_by_batch
from mlp_med.reports.figures import draw_auc_by_arm, draw_forest, to_svg
from mlp_med.reports.files import PAGE, VERDICT, write_page
from mlp_med.reports.several_analysis import SeveralAnalysis, analyse_several
from mlp_med.reports.several_page import is_split, line_of, render_several_page
from mlp_med.reports.study_data import StudyData, load_study_data
from mlp_med.reports.study_report import ReportPaths
from mlp_med.reports.verdict_parts import phantom_mark

FIGURES = ("auc_by_batch", "auc_by_arm", "beside", "seams")


def write_several_report(
    ledger: Ledger, record: StudyRecord, out_dir: Path, *, controls: Controls
) -> ReportPaths:
    """Writes the page, the figures and verdict.json, and keeps them with the study in the ledger.

    Args:
        ledger: an open ledger.
        record: a study whose plan has `claims`.
        out_dir: made if absent.
        controls: what the record of the phantom's controls says of the study's code.

    Raises:
        LedgerError: the ledger cannot be read or written, or `out_dir` cannot be written.
        EvidenceError: the cells' predictions do not fit together.
    """
    data = load_study_data(ledger, record)
    analysis = analyse_several(record, data, controls)
    figures = draw_several_figures(data, analysis)
    svg = {name: to_svg(figure) for name, figure in figures.items()}
    page = render_several_page(
        record, data, analysis, figures=svg, tracking_uri=ledger.tracking_uri
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
        sentence="\n".join(analysis.sentences),
    )
    # MLflow takes no comma in the name of a tag.
    outcomes = {
        f"verdict.{judged.claim.name.replace(',', '')}": judged.outcome or "none"
        for judged in analysis.judged
    }
    files = [paths.page, paths.verdict, *paths.figures]
    log_report(ledger, record.run_id, files, tags=outcomes, metrics={})
    return paths


def draw_several_figures(data: StudyData, analysis: SeveralAnalysis) -> dict[str, Figure]:
    """The figures by name, without those that there is nothing to show in."""
    where = f"{analysis.dataset}{phantom_mark(analysis.phantom)}"
    figures: dict[str, Figure] = {}
    if analysis.arms and is_split(data):
        figures["auc_by_arm"] = draw_auc_by_arm(
            _arm_frame(data, analysis), data.cells, title=f"AUC of the arms, {where}"
        )
    elif analysis.arms:
        arms = _arm_frame(data, analysis)
        own = own_control_arms(analysis.judged[0].claim)  # that are no point of any line
        figures["auc_by_batch"] = draw_auc_by_batch(
            arms[~arms["arm"].isin(own)],
            critical_batch=_critical_batch(data),
            title=f"AUC against the batch, {where}",
        )
    if analysis.beside:
        rows = pd.DataFrame(
            {
                "label": name,
                "effect": contrast.effect,
                "ci_low": contrast.ci_low,
                "ci_high": contrast.ci_high,
                "primary": False,
            }
            for name, (_, contrast) in analysis.beside.items()
        )
        figures["beside"] = draw_forest(
            rows,
            margin=analysis.judged[0].claim.margin,
            title=f"Beside the claims, {where}",
        )
    if (seams := _seam_frame(analysis)) is not None:
        figures["seams"] = draw_forest(
            seams, margin=analysis.judged[0].claim.margin, title=f"Seams, {where}"
        )
    return figures


def _seam_frame(analysis: SeveralAnalysis) -> pd.DataFrame | None:
    """The effects among cut and among uncut lesions, one below the other; None without any."""
    rows = [
        {
            "label": f"{seam.arms[1]}: {name}",
            "effect": stratum.contrast.effect,
            "ci_low": stratum.contrast.ci_low,
            "ci_high": stratum.contrast.ci_high,
            "primary": name == "cut",
        }
        for seam in analysis.seams
        for name, stratum in (("cut", seam.cut), ("uncut", seam.uncut))
        if stratum.contrast is not None
    ]
    if not rows:
        return None
    return pd.DataFrame(rows)


def _arm_frame(data: StudyData, analysis: SeveralAnalysis) -> pd.DataFrame:
    batches = data.cells.groupby("arm")["global_batch_size"].first()
    return pd.DataFrame(
        {
            "arm": arm,
            "line": line_of(arm),
            "batch": int(batches[arm]),
            "mean_auc": estimate.mean_auc,
            "ci_low": estimate.ci_low,
            "ci_high": estimate.ci_high,
        }
        for arm, estimate in analysis.arms.items()
    ).astype({"ci_low": float, "ci_high": float})


def _critical_batch(data: StudyData) -> float | None:
    found = data.cells["critical_batch"].dropna()
    return float(found.median()) if len(found) else None
