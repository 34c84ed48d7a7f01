"""Writes a report's files so that a reader never sees half of one."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlp_med.errors import LedgerError

PAGE = "index.html"
VERDICT = "verdict.json"


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
