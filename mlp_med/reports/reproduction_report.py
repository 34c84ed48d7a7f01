"""The report of a reproduction: reproduction.json and a page, from what the reruns found."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlp_med.reports.files import PAGE, replace_files
from mlp_med.reports.verdict_parts import phantom_mark, template_environment
from mlp_med.studies.commit_environment import CommitEnvironment
from mlp_med.studies.reproduction import Reproduction

CONTENT = "reproduction.json"
HEADER = ["cell", "trained at", "result", "largest difference", "AUC then", "AUC there"]
CHANGES_HEADER = ["cell", "of", "what", "then", "there"]


@dataclass(frozen=True)
class ReproductionReport:
    """What was asked, and what came out.

    Attributes:
        study: name of the study, with dataset and size.
        phantom: whether its scans were drawn by a program.
        environment: of the commit.
        cells: an outcome each.
        tolerance: the largest difference of a score that counts as rounding.
        command: that made it.
    """

    study: str
    phantom: bool
    environment: CommitEnvironment
    cells: Sequence[Reproduction]
    tolerance: float
    command: str

    @property
    def sentence(self) -> str:
        """How many of the cells came out the same."""
        counts = Counter(cell.result for cell in self.cells)
        parts = [f"{number} {result}" for result, number in counts.most_common()]
        return (
            f"Of {len(self.cells)} cells of {self.study}{phantom_mark(self.phantom)}, rerun at "
            f"commit {self.environment.commit[:12]}: {', '.join(parts)}."
        )

    def to_dict(self) -> dict[str, Any]:
        """The content of reproduction.json; what is not finite is null."""
        return {
            "sentence": self.sentence,
            "study": self.study,
            "phantom": self.phantom,
            "commit": self.environment.commit,
            "lock": self.environment.lock,
            "lock_sha256": self.environment.lock_digest,
            "tolerance": self.tolerance,
            "command": self.command,
            "cells": [_plain(cell) for cell in self.cells],
        }


def write_reproduction(report: ReproductionReport, out_dir: Path) -> Path:
    """Writes the JSON and the page; returns the page's path.

    Raises:
        LedgerError: `out_dir` cannot be written.
    """
    mark = phantom_mark(report.phantom)
    page = (
        template_environment()
        .get_template("reproduction.html")
        .render(
            title=f"{report.study}, rerun at {report.environment.commit[:12]}{mark}",
            phantom=report.phantom,
            mark=mark,
            sentence=report.sentence,
            tolerance=f"{report.tolerance:g}",
            header=HEADER,
            cells=[_row(cell) for cell in report.cells],
            reasons=[(cell.label, cell.reason) for cell in report.cells if cell.reason],
            changes_header=CHANGES_HEADER,
            changes=[
                (cell.label, room, *change)
                for cell in report.cells
                for room, changes in cell.changes.items()
                for change in changes
            ],
            provenance=[
                ("commit", report.environment.commit),
                ("lock", report.environment.lock),
                ("SHA-256 of the lock", report.environment.lock_digest),
            ],
            command=report.command,
        )
    )
    values = json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_files(out_dir, {CONTENT: values.encode(), PAGE: page.encode()}, ())
    return out_dir / PAGE


def _plain(cell: Reproduction) -> dict[str, Any]:
    values = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(cell).items()
    }
    changes = {
        room: [dict(zip(("what", "then", "there"), change, strict=True)) for change in found]
        for room, found in cell.changes.items()
    }
    return {**values, "changes": changes}


def _row(cell: Reproduction) -> list[str]:
    numbers = [
        f"{cell.largest_difference:.3g}" if math.isfinite(cell.largest_difference) else "–",
        *(f"{auc:.6f}" if math.isfinite(auc) else "–" for auc in (cell.auc_before, cell.auc_again)),
    ]
    return [cell.label, cell.trained_at[:12], cell.result, *numbers]
