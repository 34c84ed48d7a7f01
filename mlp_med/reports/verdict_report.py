"""The verdict on two files of predictions, whoever made them: the page, its figures, verdict.json.

The rule, the flags and the fields are those of a study. What only a study can know, its controls
and whether its arms had converged, is said to be unknown.
"""

import importlib.metadata
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mlp_med.evidence.claim import Claim
from mlp_med.evidence.contrast import Contrast, compare_arms
from mlp_med.evidence.foreign import ForeignPredictions
from mlp_med.evidence.pairing import PairedPredictions
from mlp_med.evidence.table import ArmRow, arm_row
from mlp_med.evidence.verdict import Verdict, decide, verdict_to_dict
from mlp_med.reports import formatting as f
from mlp_med.reports.figures import draw_auc_by_arm, draw_forest, to_svg
from mlp_med.reports.files import PAGE, write_page
from mlp_med.reports.strata import (
    BOOTSTRAP_SEED,
    Property,
    Strata,
    break_down,
    draw_strata,
    interaction_rows,
    patients_only,
    stratum_rows,
)
from mlp_med.reports.verdict_notes import left_out, on_files, on_strata
from mlp_med.reports.verdict_parts import (
    arm_numbers,
    contrast_row,
    inline_figures,
    phantom_mark,
    render_template,
)

UNNAMED_DATASET = "a dataset not named"
FIGURES = ("arms", "contrasts", "strata")
VERSIONS = ("mlp-med", "numpy", "scipy", "pandas", "pyarrow")


@dataclass(frozen=True)
class ForeignVerdict:
    """All that the page says.

    Attributes:
        verdict: by the rule of a study.
        contrast: of arm a and arm b.
        arms: a row each.
        predictions: what was compared.
        sentence: the verdict's, with what was left out of the comparison.
        patients_only: 95 % interval over patients with the models held fixed; only where a single
            seed allows no other.
        notes: what a reader has to know about the files.
        strata: the contrast by the columns that were asked for.
    """

    verdict: Verdict
    contrast: Contrast
    arms: Sequence[ArmRow]
    predictions: PairedPredictions
    sentence: str
    patients_only: tuple[float, float] | None
    notes: Sequence[str]
    strata: Strata

    def to_dict(self) -> dict[str, Any]:
        """The content of verdict.json: a study's fields, and what is known of the two files."""
        content = verdict_to_dict(self.verdict, self.arms, commit="unknown")
        for row in content["arms"]:
            row["resolution"] = None  # predictions do not say at which resolution they were made
        files = zip(_arms(self.predictions), self.predictions.dropped, strict=True)
        return content | {
            "sentence": self.sentence,
            "patients_only": list(self.patients_only) if self.patients_only else None,
            "files": [
                {
                    "arm": arm.name,
                    "file": arm.path.name,
                    "sha256": arm.sha256,
                    "rows": len(arm.table),
                    "seeds": sorted(map(int, arm.table["seed"].unique())),
                    "dropped_cases": dropped,
                }
                for arm, dropped in files
            ],
            "notes": list(self.notes),
            **self.strata.to_dict(),
        }


def judge_predictions(
    predictions: PairedPredictions,
    *,
    margin: float,
    statement: str | None = None,
    dataset: str | None = None,
    phantom: bool = False,
) -> ForeignVerdict:
    """Applies a study's rule to two arms of predictions.

    Args:
        predictions: of both arms on the same cases.
        margin: the smallest difference of AUC that matters.
        statement: the claim, in a sentence that says by how much; made from the names if None.
        dataset: what the cases are of.
        phantom: the cases were drawn by a program.

    Raises:
        EvidenceError: the margin is none, the arms have one name, or there are too few patients.
    """
    a, b = _arms(predictions)
    claim = Claim(
        question=f"Is {a.name} better than {b.name}?",
        statement=statement
        or f"the test AUC of {a.name} exceeds that of {b.name} by more than {margin:g}",
        margin=margin,
        primary=(a.name, b.name),
    )
    contrast = compare_arms(predictions.table_a, predictions.table_b, seed=BOOTSTRAP_SEED)
    verdict = _decide(claim, contrast, dataset or UNNAMED_DATASET, phantom)
    strata = break_down(predictions.table_a, predictions.table_b, _properties(predictions))
    return ForeignVerdict(
        verdict=verdict,
        contrast=contrast,
        arms=[
            arm_row(arm.name, nan, "none", table, seed=BOOTSTRAP_SEED)
            for arm, table in ((a, predictions.table_a), (b, predictions.table_b))
        ],
        predictions=predictions,
        sentence="; ".join([verdict.sentence.removesuffix("."), *left_out(predictions)]) + ".",
        patients_only=patients_only(contrast),
        notes=[*on_files(predictions), *strata.notes, *on_strata(predictions, strata)],
        strata=strata,
    )


def write_verdict(judged: ForeignVerdict, out_dir: Path, command: Sequence[str]) -> Path:
    """Writes index.html, verdict.json and the figures; returns the page.

    Args:
        judged: what they say.
        out_dir: made if absent; nothing in it changes where the page cannot be made.
        command: that was given, for the page.

    Raises:
        LedgerError: `out_dir` cannot be written.
    """
    figures = draw_verdict_figures(judged)
    svg = {name: to_svg(figure) for name, figure in figures.items()}
    write_page(
        out_dir,
        page=_render(judged, svg, command),
        verdict=judged.to_dict(),
        figures=figures,
        svg=svg,
        possible_figures=FIGURES,
    )
    return out_dir / PAGE


def draw_verdict_figures(judged: ForeignVerdict) -> dict[str, Figure]:
    """The figures by name."""
    where = f"{judged.verdict.dataset}{phantom_mark(judged.verdict.phantom)}"
    arms = pd.DataFrame(
        {
            "arm": row.arm,
            "mean_auc": row.estimate.mean_auc,
            "ci_low": row.estimate.ci_low,
            "ci_high": row.estimate.ci_high,
        }
        for row in judged.arms
    ).astype({"ci_low": float, "ci_high": float})
    seeds = pd.DataFrame(_seed_rows(judged), columns=["arm", "seed", "test_auc"])
    contrast = judged.contrast
    effects = [(f"{' − '.join(judged.verdict.claim.primary)}", contrast.ci_low, contrast.ci_high)]
    if judged.patients_only:
        effects.append(("patients alone", *judged.patients_only))
    forest = pd.DataFrame(
        {
            "label": label,
            "effect": contrast.effect,
            "ci_low": low,
            "ci_high": high,
            "primary": number == 0,
        }
        for number, (label, low, high) in enumerate(effects)
    )
    margin = judged.verdict.claim.margin
    strata = draw_strata(judged.strata, margin=margin, where=where, metric="AUC")
    return {
        "arms": draw_auc_by_arm(arms, seeds, title=f"Test AUC, {where}"),
        "contrasts": draw_forest(forest, margin=margin, title=f"Difference of the arms, {where}"),
        **({} if strata is None else {"strata": strata}),
    }


def _decide(claim: Claim, contrast: Contrast, dataset: str, phantom: bool) -> Verdict:
    # No controls and no pilot: both are for the predictions' author, as the sentence says.
    return decide(claim, contrast, dataset=dataset, phantom=phantom, controls=None)


def _arms(predictions: PairedPredictions) -> tuple[ForeignPredictions, ForeignPredictions]:
    return predictions.a, predictions.b


def _properties(predictions: PairedPredictions) -> dict[str, Property]:
    """What to break down by; positives have it alone where nothing is said of the others."""
    without = predictions.table_a[predictions.table_a["label"] == 0]
    return {
        column: Property(column, bool(without[column].replace("", None).isna().all()))
        for column in predictions.by
    }


def _seed_rows(judged: ForeignVerdict) -> list[tuple[str, int, float]]:
    return [
        (row.arm, seed, auc)
        for row in judged.arms
        for seed, auc in zip(row.estimate.seeds, row.estimate.aucs, strict=True)
    ]


def _render(judged: ForeignVerdict, figures: dict[str, bytes], command: Sequence[str]) -> str:
    verdict, claim = judged.verdict, judged.verdict.claim
    name = " against ".join(claim.primary)
    values = {
        "title": f"{name} on {verdict.dataset}{phantom_mark(verdict.phantom)}",
        "sentence": judged.sentence,
        "question": claim.question,
        "warnings": left_out(judged.predictions),
        "figures": inline_figures(figures),
        "arms": [[row.arm, *arm_numbers(row)] for row in judged.arms],
        "seeds": [[arm, seed, f.auc(auc)] for arm, seed, auc in _seed_rows(judged)],
        "contrasts": [contrast_row("primary", claim.primary, judged.contrast)],
        "cross_check": judged.contrast.cross_check_method,
        "patients_only": f.interval(*judged.patients_only, signed=True)
        if judged.patients_only
        else None,
        "strata": stratum_rows(judged.strata),
        "interactions": interaction_rows(judged.strata),
        "of_positives": judged.strata.of_positives,
        "rule": _rule(claim.margin),
        "notes": judged.notes,
        "files": _file_rows(judged.predictions),
        "provenance": [(name, importlib.metadata.version(name)) for name in VERSIONS],
        "command": shlex.join(command),
    }
    return render_template("verdict.html", verdict, values)


def _rule(margin: float) -> str:
    return (
        f"Supported if the interval lies above the margin {margin:g}, refuted if below it "
        f"(equivalent if also above −{margin:g}, reversed if below that), else inconclusive."
    )


def _file_rows(predictions: PairedPredictions) -> list[list[str]]:
    return [
        [
            arm.name,
            arm.path.name,
            f.count(len(arm.table)),
            f.count(arm.table["seed"].nunique()),
            f.count(arm.table["id"].nunique()),
            f.count(predictions.num_cases),
            arm.sha256[:16],
        ]
        for arm in _arms(predictions)
    ]
