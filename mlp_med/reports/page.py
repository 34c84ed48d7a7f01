"""The page of a study: everything it shows as text, put into the template with escaping on."""

import base64
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import jinja2
import pandas as pd

from mlp_med.evidence.claim import AS_USED, COMPUTE
from mlp_med.evidence.contrast import Contrast
from mlp_med.evidence.table import ArmRow, StratumEffect
from mlp_med.evidence.verdict import Verdict
from mlp_med.ledger.read import CellRecord, StudyRecord
from mlp_med.reports import formatting as f
from mlp_med.reports.analysis import Analysis
from mlp_med.reports.study_data import StudyData

CONTRAST_NAMES = {
    "information": "information (primary)",
    COMPUTE: "grid and compute",
    AS_USED: "what a user sees",
}
STRATUM_NAMES = {
    "native_spacing_mm": "coarsest native axis, mm",
    "diameter_mm": "nodule diameter, mm",
}
PHANTOM_MARK = " – phantom"
# Tags that decide a prediction: cells that differ in one were not trained alike.
DECISIVE_TAGS = ("code_digest", "python", "processor")


def phantom_mark(is_phantom: bool) -> str:
    """What the title of every figure and table of a phantom study ends in."""
    return PHANTOM_MARK if is_phantom else ""


def render_page(
    record: StudyRecord,
    data: StudyData,
    analysis: Analysis,
    *,
    figures: Mapping[str, bytes],
    crops: bytes | None,
    tracking_uri: str,
) -> str:
    """The whole page as HTML, with its figures inside.

    Args:
        record: the study.
        data: its done cells.
        analysis: of those.
        figures: SVG files by name.
        crops: PNG of example crops; None where none was kept.
        tracking_uri: of the ledger, for the commands; credentials in it are left out.
    """
    verdict = analysis.verdict
    return (
        _environment()
        .get_template("study.html")
        .render(
            title=f"{record.name} on {verdict.dataset}, {record.plan['size']} size"
            + phantom_mark(verdict.phantom),
            mark=phantom_mark(verdict.phantom),
            phantom=verdict.phantom,
            question=record.plan.get("question") or verdict.claim.question,
            sentence=verdict.sentence,
            outcome=verdict.outcome or "none",
            outcome_words=verdict.outcome or "no verdict",
            badges=_badges(verdict),
            warnings=_warnings(record),
            figures={name: _base64(svg) for name, svg in figures.items()},
            crops=_base64(crops) if crops else None,
            slope=f.difference(analysis.slope_per_octave) if analysis.slope_per_octave else None,
            contrasts=_contrast_rows(analysis),
            cross_check=_cross_check(analysis.contrasts),
            strata=_stratum_rows(analysis.strata),
            rising=verdict.rising_arms,
            costs=_cost_rows(data),
            total_cost=_total_cost(data.cells),
            arms=[_arm_row(row) for row in analysis.arms],
            incomplete=[_incomplete_row(cell) for cell in record.cells if cell.state != "done"],
            notes=analysis.notes,
            provenance=_provenance(record),
            commands=_commands(record, tracking_uri),
            cells=_cell_rows(data.cells),
        )
    )


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("mlp_med.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _badges(verdict: Verdict) -> list[str]:
    flags = {
        "phantom": verdict.phantom,
        "equivalent": verdict.equivalent,
        "reversed": verdict.reversed,
        "grid, not information": verdict.grid_not_information,
        "provisional": verdict.provisional,
        "exploratory": verdict.exploratory,
        f"controls {verdict.controls}": True,
    }
    return [name for name, is_set in flags.items() if is_set]


def _contrast_rows(analysis: Analysis) -> list[list[str]]:
    claim = analysis.verdict.claim
    pairs = {"information": claim.primary, **claim.secondary}
    rows = []
    for name, contrast in analysis.contrasts.items():
        a, b = contrast.num_seeds
        rows.append(
            [
                CONTRAST_NAMES.get(name, name),
                " − ".join(pairs[name]),
                f.difference(contrast.effect),
                f.interval(contrast.ci_low, contrast.ci_high, signed=True),
                _four_digits(contrast.standard_error),
                _one_digit(contrast.degrees_of_freedom),
                _four_digits(contrast.cross_check_standard_error),
                "unknown" if contrast.num_patients is None else f.count(contrast.num_patients),
                f"{a}" if a == b else f"{a}, {b}",
            ]
        )
    return rows


def _cross_check(contrasts: Mapping[str, Contrast]) -> str:
    return " and ".join(dict.fromkeys(c.cross_check_method for c in contrasts.values()))


def _stratum_rows(strata: Mapping[str, Sequence[StratumEffect]]) -> list[list[str]]:
    return [
        [
            STRATUM_NAMES.get(column, column),
            f.value_range(effect.low, effect.high, ends=effect is effects[-1]),
            f.count(effect.num_cases),
            f.difference(effect.contrast.effect if effect.contrast else None),
            f.interval(effect.contrast.ci_low, effect.contrast.ci_high, signed=True)
            if effect.contrast
            else "too few cases of a class",
        ]
        for column, effects in strata.items()
        for effect in effects
    ]


def _arm_row(row: ArmRow) -> list[str]:
    return [
        row.arm,
        row.control,
        f.auc(row.estimate.mean_auc),
        _four_digits(row.standard_error),
        f.interval(row.estimate.ci_low, row.estimate.ci_high),
        f.count(row.num_seeds),
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


def _incomplete_row(cell: CellRecord) -> list[str]:
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


def _warnings(record: StudyRecord) -> list[str]:
    """Says where the finished cells were not trained by the same code on the same machine."""
    values = _tag_values(record)
    return [
        f"The finished cells differ in {name}: {', '.join(values[name])}."
        for name in DECISIVE_TAGS
        if len(values.get(name, [])) > 1
    ]


def _provenance(record: StudyRecord) -> list[tuple[str, str]]:
    dataset = record.plan["dataset"]
    values = _tag_values(record)
    shown = ["commit", *DECISIVE_TAGS, "num_cores", "machine"]
    shown += sorted(name for name in values if name.startswith("version."))
    entries = {
        "study run": record.run_id,
        "dataset": f"{dataset['name']}{phantom_mark(bool(dataset['phantom']))}",
        "source": dataset["source"],
        "source digest": dataset["source_digest"],
        "examples digest": ", ".join(_example_digests(record)),
        "test cases": f.count(dataset["num_cases"].get("test")),
        "test patients": _test_patients(dataset),
        **{name: ", ".join(values[name]) for name in shown if name in values},
    }
    return list(entries.items())


def _test_patients(dataset: Mapping[str, Any]) -> str:
    patients = dataset["num_patients"]
    return f.count(patients.get("test")) if patients else "unknown in this source"


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


def _commands(record: StudyRecord, tracking_uri: str) -> str:
    dataset = record.plan["dataset"]
    where = ["--tracking-uri", _without_credentials(tracking_uri)]
    which = ["--size", record.plan["size"], "--dataset", dataset["name"]]
    run = ["mlp-med", "study", "run", record.name, *which, "--source", dataset["source"]]
    run += ["--data-dir", dataset["data_dir"], *where]
    report = ["mlp-med", "report", record.name, *which, "--out", "report", *where]
    rerun = ["mlp-med", "rerun", "RUN_ID", *where]
    return "\n".join(shlex.join(map(str, command)) for command in (run, report, rerun))


def _without_credentials(tracking_uri: str) -> str:
    parts = urlsplit(tracking_uri)
    if "@" not in parts.netloc:
        return tracking_uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _four_digits(value: float | None) -> str:
    return f.NOT_KNOWN if value is None else f"{value:.4f}"


def _one_digit(value: float | None) -> str:
    return f.NOT_KNOWN if value is None else f"{value:.1f}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
