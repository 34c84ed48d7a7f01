"""A file of named arrays that is either whole or refused.

Its first line is the SHA-256 of the rest in hexadecimal digits, the rest is NumPy's npz. Nothing is
parsed before the digest is right, and nothing is ever unpickled.
"""

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from mlp_med.errors import TrainingError

_FIRST_LINE_BYTES = 65


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the file under another name, to the disk, and then moves it to its place.

    Whatever happens on the way, a file that was there before is whole and nothing else is left.

    Args:
        path: of the file; its directory is made where there is none.
        arrays: of numbers, by name.

    Raises:
        OSError: the disk is full, or the file may not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        with unfinished.open("w+b") as file:
            file.write(b" " * _FIRST_LINE_BYTES)
            np.savez(file, **cast(dict[str, Any], arrays))
            file.seek(_FIRST_LINE_BYTES)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            file.write(f"{digest}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    _sync_directory(path.parent)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file, by name.

    Raises:
        TrainingError: kind "bad_checkpoint" where the file is not what was written.
        OSError: there is no such file, or it cannot be read.
    """
    with path.open("rb") as file:
        told = file.read(_FIRST_LINE_BYTES)
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if told != f"{found}\n".encode():
            raise TrainingError(
                "bad_checkpoint",
                f"expected {path} to hold what its digest says, got other bytes; it is damaged",
            )
        file.seek(_FIRST_LINE_BYTES)
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}


def _sync_directory(directory: Path) -> None:
    """So that the new name outlives a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
