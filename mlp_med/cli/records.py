"""Outcomes that are committed: JSON files, whole or not there, their place tried beforehand."""

import contextlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlp_med.errors import StudyError


def check_place(path: Path) -> None:
    """Makes the folder and tries it, before hours of training whose outcome it shall keep.

    Raises:
        StudyError: `path` cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError("it is a directory")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error


def keep(path: Path, content: Mapping[str, Any]) -> None:
    """Writes the record beside its place and moves it there.

    Raises:
        StudyError: `path` cannot be written.
    """
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        unfinished.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> StudyError:
    return StudyError(
        f"cannot write the record to {path}: {error}; give a file in a folder that you may write "
        "to, on a disk that is not full (--record FILE)"
    )
