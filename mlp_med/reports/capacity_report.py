"""Writes the page of a computed study, memory_fits or platforms, from the ledger alone."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mlp_med.ledger.read import StudyRecord
from mlp_med.ledger.store import Ledger
from mlp_med.ledger.study_run import log_report
from mlp_med.ledger.tables import load_tables
from mlp_med.reports import formatting as f
from mlp_med.reports.capacity_figures import (
    REMEDIES,
    draw_feasibility,
    draw_memory_check,
    draw_roofline,
)
from mlp_med.reports.figures import to_png, to_svg
from mlp_med.reports.files import PAGE, replace_files
from mlp_med.reports.verdict_parts import inline_figures, template_environment

SHOWN_BATCH = 16
OUTCOME_HEADER = (
    *("platform", "resolution", "needs", "micro-batch", "devices"),
    *("peak", "step", "energy", "price"),
)
ROOFLINE_HEADER = (
    *("platform", "task", "resolution", "bound", "TFLOP"),
    *("GB moved", "FLOP a byte", "activations", "time", "energy"),
)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page: words, a figure by its name, a table."""

    title: str
    words: str = ""
    figure: str = ""
    caption: str = ""
    header: Sequence[str] = ()
    rows: list[list[str]] = field(default_factory=list)
    text_columns: int = 1


@dataclass(frozen=True)
class Content:
    """What is particular to a study: its answer in sentences, its parts and its figures."""

    sentences: list[str]
    sections: list[Section]
    figures: Mapping[str, Figure]


def write_capacity_report(ledger: Ledger, record: StudyRecord, out_dir: Path) -> tuple[Path, str]:
    """Writes page and figures, and keeps them with the study.

    Args:
        ledger: an open ledger.
        record: of the study.
        out_dir: made if absent.

    Returns:
        The page, and the answer in a sentence.

    Raises:
        LedgerError: the ledger cannot be read or written, or `out_dir` cannot be written.
    """
    tables = load_tables(ledger, record.run_id)
    content = {"memory_fits": _memory_fits, "platforms": _platforms}[record.name](tables)
    drawn = {f"{name}.svg": to_svg(figure) for name, figure in content.figures.items()}
    page = (
        template_environment()
        .get_template("capacity.html")
        .render(
            title=f"{record.name}: {record.plan['question']}",
            question=record.plan["question"],
            sentences=content.sentences,
            sections=content.sections,
            figures=inline_figures({name.removesuffix(".svg"): svg for name, svg in drawn.items()}),
            mark="",
            provenance=_provenance(record),
            commands=_commands(record),
        )
    )
    drawn |= {f"{name}.png": to_png(figure) for name, figure in content.figures.items()}
    replace_files(out_dir, {**drawn, PAGE: page.encode()}, content.figures)
    paths = [out_dir / PAGE, *(out_dir / name for name in drawn)]
    log_report(ledger, record.run_id, paths, tags={"answer": content.sentences[0]}, metrics={})
    return out_dir / PAGE, content.sentences[0]


def _memory_fits(tables: Mapping[str, pd.DataFrame]) -> Content:
    outcomes, measured = tables["feasibility"], tables["measured"]
    figures: dict[str, Figure] = {}
    sections = []
    for number, (task, rows) in enumerate(outcomes.groupby("task", sort=False)):
        name = f"feasibility{number}"
        figures[name] = draw_feasibility(rows, title=f"What must be given up: {task}")
        sections.append(
            Section(
                title=str(task),
                words="Colour: the last remedy needed; number: predicted peak of one device in GB.",
                figure=name,
                caption=f"{task}, batch {SHOWN_BATCH}: the price of an optimiser step, at best",
                header=OUTCOME_HEADER,
                rows=[_outcome_row(row) for row in _shown(rows)],
                text_columns=3,
            )
        )
    sections.append(_measured_memory(measured, figures))
    return Content(_fit_sentences(outcomes), sections, figures)


def _shown(rows: pd.DataFrame) -> list[Any]:
    return rows[rows["batch"] == SHOWN_BATCH].to_dict("records")


def _outcome_row(row: Any) -> list[str]:
    return [
        row["platform"] + (", predicted" if row["predicted"] else ""),
        f"{row['resolution']:g} {f.UNITS.get(row['unit'], row['unit'])} ({row['grid']})",
        row["remedy"],
        f.count(row["micro_batch"]),
        f.count(row["devices"]),
        f.memory(row["peak_bytes"]),
        _seconds(row["seconds"]),
        f"{row['energy_joules']:.3g} J" if row["energy_joules"] > 0 else f.NOT_KNOWN,
        f"{row['price']:.2g}" if row["price"] > 0 else f.NOT_KNOWN,
    ]


def _fit_sentences(outcomes: pd.DataFrame) -> list[str]:
    counts = outcomes["remedy"].value_counts()
    parts = [f"{counts[name]:,} need {name}" for name in list(REMEDIES)[1:-1] if name in counts]
    infeasible = counts.get("infeasible", 0)
    return [
        f"Of {len(outcomes):,} combinations of machine, task, resolution and batch, "
        f"{counts.get('float32', 0):,} fit as they are, {', '.join(parts)}, and {infeasible:,} are "
        "infeasible."
    ]


def _measured_memory(measured: pd.DataFrame, figures: dict[str, Figure]) -> Section:
    title = "Measured here, beside the prediction"
    if not len(measured):
        return Section(title=title, words="No cell was trained for this study (--measure).")
    done = measured[measured["state"] == "done"]
    if len(done):
        labelled = done.assign(label=[_cell_label(row) for row in done.to_dict("records")])
        figures["measured"] = draw_memory_check(labelled, title="Peak memory on this machine")
    return Section(
        title=title,
        words="Peak of a process that trained the cell for a few steps, read inside it.",
        figure="measured",
        caption="Cells on this machine",
        header=["cell", "state", "predicted", "measured", "error"],
        rows=[
            [
                _cell_label(row),
                row["state"] + (f": {row['message']}" if row["message"] else ""),
                f.memory(row["predicted_bytes"]),
                f.memory(row.get("measured_bytes")),
                _error(row["predicted_bytes"], row.get("measured_bytes")),
            ]
            for row in measured.to_dict("records")
        ],
        text_columns=2,
    )


def _platforms(tables: Mapping[str, pd.DataFrame]) -> Content:
    rows, roofs, measured = tables["rooflines"], tables["roofs"], tables["measured"]
    known = rows[rows["bound"] != ""]
    points = rows[rows["precision"] == "float32"]
    stars = measured[measured["state"] == "done"]
    figures = {
        "roofline": draw_roofline(roofs, points, stars, title="Roofs, and the tasks under them")
    }
    sections = [
        Section(
            title="Roofline",
            words="A step left of a roof's corner waits for memory, right of it for arithmetic. "
            "The bands are the tasks in training in float32, over their resolutions; in bfloat16 "
            "they stand at twice the intensity.",
            figure="roofline",
        )
    ]
    for mode, of_mode in known.groupby("mode", sort=False):
        sections.append(
            Section(
                title=f"{str(mode).capitalize()}, batch {of_mode['batch'].iloc[0]}",
                caption=f"{str(mode).capitalize()}: the least a batch can take",
                header=ROOFLINE_HEADER,
                rows=[_roofline_row(row) for row in of_mode.to_dict("records")],
                text_columns=4,
            )
        )
    sections.append(_measured_time(measured))
    return Content([_bound_sentence(known)], sections, figures)


def _roofline_row(row: Any) -> list[str]:
    return [
        row["platform"] + (", predicted" if row["predicted"] else ""),
        row["task"],
        f"{row['resolution']:g} {f.UNITS.get(row['unit'], row['unit'])}",
        row["bound"],
        f"{row['operations'] / 1e12:.3g}",
        f"{row['bytes'] / 1e9:.3g}",
        f"{row['intensity']:.0f}",
        f.memory(row["activation_bytes"]),
        _seconds(row["seconds"]),
        f"{row['energy_joules']:.3g} J" if row["energy_joules"] > 0 else f.NOT_KNOWN,
    ]


def _bound_sentence(known: pd.DataFrame) -> str:
    parts = []
    for mode, of_mode in known.groupby("mode", sort=False):
        shares = of_mode["bound"].value_counts()
        listed = ", ".join(f"{name} {count:,}" for name, count in shares.items())
        parts.append(f"{mode}: bound by {listed}, of {len(of_mode):,}")
    return "Steps by what they wait for: " + "; ".join(parts) + "."


def _measured_time(measured: pd.DataFrame) -> Section:
    title = "Measured here, beside the estimate"
    if not len(measured):
        return Section(title=title, words="No cell was trained for this study (--measure).")
    return Section(
        title=title,
        words="The estimate takes every kernel to reach the machine's measured peak or bandwidth, "
        "so a step can only be slower; the error is estimated over measured, less one.",
        caption="Seconds of an optimiser step on this machine, input included",
        header=["cell", "state", "estimated", "measured", "error"],
        rows=[
            [
                _cell_label(row),
                row["state"],
                _seconds(row.get("estimated_seconds")),
                _seconds(row.get("measured_seconds")),
                _error(row.get("estimated_seconds"), row.get("measured_seconds")),
            ]
            for row in measured.to_dict("records")
        ],
        text_columns=2,
    )


def _cell_label(row: Any) -> str:
    unit = f.UNITS.get(row["unit"], row["unit"])
    precision = row["precision"].removeprefix("mixed_")
    return f"{row['task']}, {row['resolution']:g} {unit} × {row['batch']}, {precision}"


def _seconds(value: float | None) -> str:
    if value is None or not value > 0:
        return f.NOT_KNOWN
    return f"{1e3 * value:.3g} ms" if value < 1 else f.duration(value)


def _error(expected: float | None, found: float | None) -> str:
    if expected is None or found is None or not found > 0:
        return f.NOT_KNOWN
    return f"{100 * (expected / found - 1):+.0f} %".replace("-", "−")


def _provenance(record: StudyRecord) -> list[tuple[str, str]]:
    """What made the tables; not what a report wrote back, or the page would change with it."""
    shown = [name for name in ("commit", "python", "processor", "num_cores") if name in record.tags]
    shown += sorted(name for name in record.tags if name.startswith("version."))
    return [("study run", record.run_id), *((name, record.tags[name]) for name in shown)]


def _commands(record: StudyRecord) -> str:
    run = ["mlp-med", "study", "compute", record.name, *record.plan.get("options", [])]
    report = ["mlp-med", "report", record.name, "--out", "report"]
    return "\n".join(shlex.join(command) for command in (run, report))
