"""The page of a study: everything it shows as text, put into the template with escaping on."""

import shlex
from collections.abc import Mapping

import pandas as pd

from mlp_med.evidence.calibration import CalibrationRecord, exceeding
from mlp_med.evidence.claim import AS_USED, COMPUTE, Claim
from mlp_med.evidence.contrast import Contrast
from mlp_med.evidence.convergence import Convergence
from mlp_med.ledger.credentials import without_credentials
from mlp_med.ledger.read import CellRecord, StudyRecord
from mlp_med.reports import formatting as f
from mlp_med.reports.analysis import Analysis, dataset_name
from mlp_med.reports.memory_budget import memory_rows
from mlp_med.reports.recipe import recipe
from mlp_med.reports.strata import interaction_rows, stratum_rows
from mlp_med.reports.study_data import StudyData
from mlp_med.reports.verdict_parts import (
    arm_numbers,
    contrast_row,
    in_base64,
    inline_figures,
    phantom_mark,
    render_template,
)

CONTRAST_NAMES = {COMPUTE: "grid and compute", AS_USED: "what a user sees"}
# Tags that decide a prediction: cells that differ in one were not trained alike.
DECISIVE_TAGS = ("code_digest", "python", "processor")


def render_page(
    record: StudyRecord,
    data: StudyData,
    analysis: Analysis,
    *,
    figures: Mapping[str, bytes],
    crops: bytes | None,
    tracking_uri: str,
    calibration: CalibrationRecord | None = None,
) -> str:
    """The whole page as HTML, with its figures inside.

    Args:
        record: the study.
        data: its done cells.
        analysis: of those.
        figures: SVG files by name.
        crops: PNG of example crops; None where none was kept.
        tracking_uri: of the ledger, for the commands; credentials in it are left out.
        calibration: the record that the figure of that name shows.
    """
    verdict = analysis.verdict
    claim = verdict.claim
    pairs = {"information": claim.primary, **claim.secondary}
    values = {
        "title": f"{record.name} on {verdict.dataset}, {record.plan['size']} size"
        + phantom_mark(verdict.phantom),
        "question": record.plan.get("question") or claim.question,
        "warnings": warnings(record),
        "figures": inline_figures(figures),
        "metric": claim.metric_name,
        "metric_at_start": f.at_start(claim.metric_name),
        "macro": claim.metric == "macro_auc",
        "crops": in_base64(crops) if crops else None,
        "slope": f.difference(analysis.slope_per_octave) if analysis.slope_per_octave else None,
        "contrasts": [
            contrast_row(contrast_name(name, claim), pairs[name], contrast)
            for name, contrast in analysis.contrasts.items()
        ],
        "cross_check": _cross_check(analysis.contrasts),
        "strata": stratum_rows(analysis.strata),
        "by_native_axis": "native_spacing_mm" in analysis.strata.effects,
        "of_positives": analysis.strata.of_positives,
        "interactions": interaction_rows(analysis.strata),
        "kinds_of_lesions": "kind" in analysis.strata.effects
        and record.plan["dataset"].get("task") == "lesion",
        "recipe": recipe(record.cells),
        "unconverged": verdict.unconverged_arms,
        "convergence": [_convergence_row(arm, found) for arm, found in verdict.convergence.items()],
        "calibration": _calibration_words(calibration) if calibration else "",
        "costs": _cost_rows(data),
        "memory": memory_rows(record.plan.get("memory"), data.cells),
        "memory_budget": f.memory((record.plan.get("memory") or {}).get("budget_bytes")),
        "total_cost": _total_cost(data.cells),
        "dataset_name": record.plan["dataset"]["name"],
        "arms": [[row.arm, row.control, *arm_numbers(row)] for row in analysis.arms],
        "incomplete": [incomplete_row(cell) for cell in record.cells if cell.state != "done"],
        "notes": analysis.strata.notes,
        "provenance": provenance(record),
        "commands": commands(record, tracking_uri),
        "cells": _cell_rows(data.cells),
    }
    return render_template("study.html", verdict, values)


def contrast_name(name: str, claim: Claim) -> str:
    """What a contrast of a study's analysis is called in its table and its figure."""
    if name != "information":
        return CONTRAST_NAMES.get(name, name)
    # Beside what the grid does, the primary contrast is what the information does.
    return "information (primary)" if COMPUTE in claim.secondary else "the claim (primary)"


def _calibration_words(record: CalibrationRecord) -> str:
    above = len(exceeding(record.table))
    stale = " The record is of an older version of this code; re-make it." if record.stale else ""
    fewest = int(record.table["num_simulations"].min())
    return (
        f"{len(record.table)} kinds of study, at least {fewest:,} of each, whose true effect is "
        "the margin, so that either decision is false. "
        f"Settings with an error rate shown to exceed 2.5 %: {above}. Made again by: "
        f"{record.command}.{stale}"
    )


def _cross_check(contrasts: Mapping[str, Contrast]) -> str:
    return " and ".join(dict.fromkeys(c.cross_check_method for c in contrasts.values()))


def _convergence_row(arm: str, found: Convergence) -> list[str]:
    return [
        arm,
        f.count(found.budget_examples),
        f.difference(found.rise),
        f.interval(found.lower, found.upper, signed=True),
        f.count(found.num_seeds),
        "converged" if found.converged else "still rising" if found.rising else "cannot be told",
        "" if found.converged else f.count(found.examples_needed),
    ]


def _cost_rows(data: StudyData) -> list[list[str]]:
    rows = []
    for arm in data.arms:
        cells = data.cells[data.cells["arm"] == arm]
        mean = cells.mean(numeric_only=True)
        rows.append(
            [
                arm,
                f.duration(mean["seconds_total"]),
                f.duration(mean["seconds_startup"]),
                f.duration(mean["seconds_training"]),
                f.duration(mean["seconds_evaluation"]),
                f.count(mean["examples_per_second"]),
                f.memory(cells["peak_memory_bytes"].max()),
                f.memory(cells["peak_memory_above_base_bytes"].max()),
            ]
        )
    return rows


def _total_cost(cells: pd.DataFrame) -> str:
    total = cells["seconds_total"].sum()
    if not total:
        return ""
    shares = ", ".join(
        f"{name} {f.percent(cells[column].sum() / total)}"
        for name, column in (
            ("start-up", "seconds_startup"),
            ("training", "seconds_training"),
            ("evaluation", "seconds_evaluation"),
        )
    )
    return f"All {len(cells)} finished cells together: {f.duration(total)}, of which {shares}."


def incomplete_row(cell: CellRecord) -> list[str]:
    """Arm, seed, state and why, of a cell without a result."""
    kind, message = (cell.failure.kind, cell.failure.message) if cell.failure else ("", "")
    return [cell.arm, str(cell.params.get("seed", "")), cell.state, kind, message]


def _cell_rows(cells: pd.DataFrame) -> list[list[str]]:
    return [
        [
            cell["arm"],
            str(cell["seed"]),
            f.auc(cell["test_auc"]),
            f.auc(cell["best_validation_auc"]),
            cell["run_id"],
        ]
        for cell in cells.to_dict("records")
    ]


def warnings(record: StudyRecord) -> list[str]:
    """Says where the finished cells were not trained by the same code on the same machine."""
    values = _tag_values(record)
    return [
        f"The finished cells differ in {name}: {', '.join(values[name])}."
        for name in DECISIVE_TAGS
        if len(values.get(name, [])) > 1
    ]


def provenance(record: StudyRecord) -> list[tuple[str, str]]:
    """What a reader needs to trace the study, by name."""
    dataset = record.plan["dataset"]
    values = _tag_values(record)
    shown = ["commit", *DECISIVE_TAGS, "num_cores", "machine"]
    shown += sorted(name for name in values if name.startswith("version."))
    entries = {
        "study run": record.run_id,
        "dataset": f"{dataset_name(dataset)}{phantom_mark(bool(dataset['phantom']))}",
        "source": dataset["source"],
        "source digest": dataset["source_digest"],
        "examples digest": ", ".join(_example_digests(record)),
        **_tested(record),
        **{name: ", ".join(values[name]) for name in shown if name in values},
    }
    return list(entries.items())


def _tested(record: StudyRecord) -> dict[str, str]:
    """The cases and patients that the verdict rests on."""
    dataset = record.plan["dataset"]
    folds = {cell.params["fold"] for cell in record.cells}
    splits = ["test"] if len(folds) == 1 else list(dataset["num_cases"])
    patients = dataset["num_patients"]
    tested = {
        "test cases": f.count(sum(dataset["num_cases"][split] for split in splits)),
        "test patients": f.count(sum(patients[split] for split in splits))
        if patients
        else "unknown in this source",
    }
    return tested if len(folds) == 1 else {**tested, "folds": f.count(len(folds))}


def _example_digests(record: StudyRecord) -> list[str]:
    unit = f.UNITS.get(record.plan["dataset"]["unit"], record.plan["dataset"]["unit"])
    digests = {
        cell.params["resolution"]: str(cell.params["dataset_digest"]) for cell in record.cells
    }
    return [f"{resolution:g} {unit}: {digests[resolution][:16]}" for resolution in sorted(digests)]


def _tag_values(record: StudyRecord) -> dict[str, list[str]]:
    """Every value that the tags of the finished cells take; the study's own, were there none."""
    values: dict[str, dict[str, None]] = {}
    for tags in [cell.tags for cell in record.in_state("done")] or [record.tags]:
        for name, value in tags.items():
            values.setdefault(name, {})[value] = None
    return {name: list(found) for name, found in values.items()}


def commands(record: StudyRecord, tracking_uri: str) -> str:
    """How to run the study, this page and a cell again, one command a line."""
    dataset = record.plan["dataset"]
    where = ["--tracking-uri", without_credentials(tracking_uri)]
    which = ["--size", record.plan["size"], "--dataset", dataset["name"]]
    run = ["mlp-med", "study", "run", record.name, *which, "--source", dataset["source"]]
    run += ["--task", dataset["task"]] if dataset.get("task") else []
    run += ["--data-dir", dataset["data_dir"], *where]
    report = ["mlp-med", "report", record.name, *which, "--out", "report", *where]
    rerun = ["mlp-med", "rerun", "RUN_ID", *where]
    return "\n".join(shlex.join(map(str, command)) for command in (run, report, rerun))
