"""Writes a report's files so that a reader never sees half of one."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mlp_med.errors import LedgerError
from mlp_med.reports.figures import to_png

PAGE = "index.html"
VERDICT = "verdict.json"


def write_page(
    out_dir: Path,
    *,
    page: str,
    verdict: Mapping[str, Any],
    figures: Mapping[str, Figure],
    svg: Mapping[str, bytes],
    possible_figures: Iterable[str],
) -> tuple[Path, ...]:
    """Writes a page, its verdict.json, and its figures as SVG and PNG; returns the figures' paths.

    Args:
        out_dir: made if absent.
        page: the HTML.
        verdict: plain values for JSON.
        figures: by name.
        svg: the same as the page shows them.
        possible_figures: see `replace_files`.

    Raises:
        LedgerError: `out_dir` cannot be written.
    """
    values = json.dumps(verdict, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    content = {f"{name}.svg": drawn for name, drawn in svg.items()}
    content |= {f"{name}.png": to_png(figure) for name, figure in figures.items()}
    written = tuple(out_dir / name for name in content)
    content |= {VERDICT: values.encode(), PAGE: page.encode()}
    replace_files(out_dir, content, possible_figures)
    return written


def replace_files(
    out_dir: Path, content: Mapping[str, bytes], possible_figures: Iterable[str]
) -> None:
    """Writes all files beside their places first, then moves them there, the page last.

    Args:
        out_dir: made if absent.
        content: by file name.
        possible_figures: names without suffix; those that this report has nothing to show in are
            removed, since one of the report before would contradict the page.

    Raises:
        LedgerError: `out_dir` cannot be written.
    """
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out_dir, prefix=".unfinished-") as unfinished:
            for name, drawn in content.items():
                (Path(unfinished) / name).write_bytes(drawn)
            for name in content:
                (Path(unfinished) / name).replace(out_dir / name)
        for name in possible_figures:
            for stale in {f"{name}.svg", f"{name}.png"} - set(content):
                (out_dir / stale).unlink(missing_ok=True)
    except OSError as error:
        raise LedgerError(
            f"cannot write the report to {out_dir}: {error}; give a directory that you may write "
            "to, on a disk that is not full (--out DIR)"
        ) from error
