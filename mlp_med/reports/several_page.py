"""The page of a study of several claims."""

from collections.abc import Mapping, Sequence

import pandas as pd

from mlp_med.evidence.claim import METRICS
from mlp_med.evidence.several import JudgedClaim
from mlp_med.evidence.several_sentence import num_runs, shown_effect
from mlp_med.evidence.time_to_target import FollowUp
from mlp_med.ledger.read import StudyRecord
from mlp_med.reports import formatting as f
from mlp_med.reports.page import commands, incomplete_row, provenance, warnings
from mlp_med.reports.recipe import recipe
from mlp_med.reports.seams import Seam
from mlp_med.reports.several_analysis import SeveralAnalysis
from mlp_med.reports.study_data import StudyData
from mlp_med.reports.verdict_parts import (
    control_lines,
    inline_figures,
    phantom_mark,
    template_environment,
)

SHARPNESS = (
    "sharpness_full_0.001",
    "sharpness_full_0.0005",
    "sharpness_subspace_0.001",
    "sharpness_subspace_0.0005",
    "sharpness_adaptive",
)
METRIC_WORDS = METRICS | {
    "examples_to_target": "examples to target",
    "seconds_to_target": "seconds to target",
    "log_sharpness": "ratio of sharpness",
}


def render_several_page(
    record: StudyRecord,
    data: StudyData,
    analysis: SeveralAnalysis,
    *,
    figures: Mapping[str, bytes],
    tracking_uri: str,
) -> str:
    """The whole page as HTML, with its figures inside.

    Args:
        record: the study.
        data: its done cells.
        analysis: of those.
        figures: SVG files by name.
        tracking_uri: of the ledger, for the commands; credentials in it are left out.
    """
    mark = phantom_mark(analysis.phantom)
    return (
        template_environment()
        .get_template("several.html")
        .render(
            title=f"{record.name} on {analysis.dataset}, {record.plan['size']} size{mark}",
            mark=mark,
            phantom=analysis.phantom,
            question=analysis.judged[0].claim.question,
            warnings=warnings(record),
            claims=[
                _claim(*each) for each in zip(analysis.judged, analysis.sentences, strict=True)
            ],
            controls=control_lines(analysis.controls),
            claim_rows=[_claim_row(judged) for judged in analysis.judged],
            figures=inline_figures(figures),
            beside=[
                [
                    name,
                    " − ".join(pair),
                    f.difference(contrast.effect),
                    f.interval(contrast.ci_low, contrast.ci_high, signed=True),
                    f.count(min(contrast.num_seeds)),
                ]
                for name, (pair, contrast) in analysis.beside.items()
            ],
            heading="AUC of the arms" if is_split(data) else "AUC against the batch",
            seams=[_seam_row(seam) for seam in analysis.seams],
            arm_header=_arm_header(data),
            arms=_arm_rows(data, analysis),
            recipe=recipe(record.cells),
            minima=_minimum_rows(data),
            pilot=_pilot_rows(record),
            incomplete=[incomplete_row(cell) for cell in record.cells if cell.state != "done"],
            provenance=provenance(record),
            commands=commands(record, tracking_uri),
        )
    )


def is_split(data: StudyData) -> bool:
    """Whether any arm was trained on tiles."""
    return bool((data.cells["split"] > 1).any())


def line_of(arm: str) -> str:
    """What else than its batch an arm is: "batch 2, no norm, equal examples" without "batch 2"."""
    batch, _, rest = arm.partition(", ")
    return f"{rest}, accumulated" if " of " in batch else rest


def _claim(judged: JudgedClaim, sentence: str) -> dict[str, object]:
    flags = {"equivalent": judged.equivalent, "reversed": judged.reversed}
    return {
        "name": judged.claim.name,
        "outcome": judged.outcome or "none",
        "words": judged.outcome or "no verdict",
        "badges": [name for name, is_set in flags.items() if is_set],
        "sentence": sentence,
    }


def _claim_row(judged: JudgedClaim) -> list[str]:
    effect, interval, corrected, margin = shown_effect(judged)
    p_values = [
        "n/a" if value is None else f.p_value(value)
        for value in (judged.p_value, judged.adjusted_p_value)
    ]
    seeds = "n/a" if judged.estimate is None else f.count(min(num_runs(judged.estimate)))
    arms = " − ".join(judged.claim.primary)
    name = judged.claim.name
    metric = METRIC_WORDS[judged.claim.metric]
    return [name, arms, metric, effect, interval, corrected, margin, *p_values, seeds]


def _seam_row(seam: Seam) -> list[str]:
    """The effect among cut and among uncut lesions, and whether they differ."""
    row = [" − ".join(seam.arms)]
    for stratum in (seam.cut, seam.uncut):
        effect = stratum.contrast
        row += [
            f.count(stratum.num_cases),
            f.difference(effect.effect) if effect else f.NOT_KNOWN,
            f.interval(effect.ci_low, effect.ci_high, signed=True) if effect else f.NOT_KNOWN,
        ]
    found = seam.interaction
    if found is None:
        return [*row, f.NOT_KNOWN, f.NOT_KNOWN, f.NOT_KNOWN]
    return [
        *row,
        f.difference(found.difference),
        f.interval(found.ci_low, found.ci_high, signed=True),
        f.p_value(found.p_value),
    ]


def _arm_header(data: StudyData) -> list[str]:
    labels = ["image labels", "drawn lesions"] if is_split(data) else []
    above = ["of it above its base"] if is_split(data) else []
    return [
        *("arm", "norm", "learning rate", "examples", *labels, "mean AUC", "95 % interval", "n"),
        *(
            "reached",
            "examples to target",
            "seconds to target",
            "whole cell",
            "peak memory",
            *above,
        ),
    ]


def _labels(cells: pd.DataFrame) -> list[str]:
    """Means over the seeds: a fraction of the patients is another of their images each time."""
    named = (cells[name].dropna() for name in ("num_image_labels", "num_drawn_lesions"))
    return [f.count(values.mean()) if len(values) else f.NOT_KNOWN for values in named]


def _above_base(cells: pd.DataFrame) -> list[str]:
    return [f.memory(cells["peak_memory_above_base_bytes"].max())]


def _arm_rows(data: StudyData, analysis: SeveralAnalysis) -> list[list[str]]:
    rows = []
    for arm in data.arms:
        cells = data.cells[data.cells["arm"] == arm]
        estimate = analysis.arms.get(arm)
        rows.append(
            [
                arm,
                str(cells["norm"].iloc[0]),
                f"{cells['learning_rate'].iloc[0]:g}",
                f.count(cells["budget_examples"].iloc[0]),
                *(_labels(cells) if is_split(data) else []),
                f.auc(estimate.mean_auc if estimate else None),
                f.interval(estimate.ci_low, estimate.ci_high) if estimate else f.NOT_KNOWN,
                f.count(len(cells)),
                *_time_numbers({metric: of.get(arm, ()) for metric, of in analysis.times.items()}),
                f.duration(cells["seconds_total"].mean()),
                f.memory(cells["peak_memory_bytes"].max()),
                *(
                    [f.memory(cells["peak_memory_above_base_bytes"].max())]
                    if is_split(data)
                    else []
                ),
            ]
        )
    return rows


def _time_numbers(times: Mapping[str, Sequence[FollowUp]]) -> list[str]:
    """How many reached the target, and their mean examples and seconds."""
    examples = times.get("examples_to_target", ())
    seconds = [run.time for run in times.get("seconds_to_target", ()) if run.reached]
    reached = [run.time for run in examples if run.reached]
    either = examples or times.get("seconds_to_target", ())
    return [
        f"{sum(run.reached for run in either)} of {len(either)}",
        f.count(sum(reached) / len(reached)) if reached else f.NOT_KNOWN,
        f.duration(sum(seconds) / len(seconds)) if seconds else f.NOT_KNOWN,
    ]


def _minimum_rows(data: StudyData) -> list[list[str]]:
    measured = data.cells.dropna(subset="final_training_loss")
    return [
        [
            str(arm),
            f"{cells['final_training_loss'].mean():.3f}",
            f"{int(cells['reached_training_loss'].sum())} of {len(cells)}",
            *(_number(cells[name]) for name in SHARPNESS),
            _number(cells["critical_batch"]),
        ]
        for arm, cells in measured.groupby("arm", sort=False)
    ]


def _number(values: pd.Series) -> str:
    known = values.dropna()
    return f"{known.mean():.3g}" if len(known) else f.NOT_KNOWN


def _pilot_rows(record: StudyRecord) -> list[list[str]]:
    pilot = record.plan.get("pilot") or {"arms": {}}
    return [
        [
            arm,
            f"{found['learning_rate']:g}",
            "yes" if found["on_edge"] else "no",
            ", ".join(f"{rate:g}: {f.auc(auc)}" for rate, auc in found["grid"]),
        ]
        for arm, found in pilot["arms"].items()
    ]
