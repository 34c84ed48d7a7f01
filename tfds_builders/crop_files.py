"""Crop files: rendered once by worker processes, read by the configs of a dataset, then freed.

A file's name is a digest of all that its content depends on, so that an outdated one is never read.
Imports neither TensorFlow nor anything slow: worker processes use it.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL
import SimpleITK as sitk  # noqa: N813

from mlp_med import imaging
from mlp_med.errors import DatasetError
from tfds_builders.hashing import digest_of


def rendering_code_digest(*files: str | Path) -> str:
    """Changes with any code that a crop depends on: all of `mlp_med.imaging`, and `files`."""
    code = [*sorted(Path(imaging.__file__).parent.glob("*.py")), *map(Path, files)]
    versions = [np.__version__, PIL.__version__, sitk.Version.VersionString()]
    return digest_of([*versions, *(path.read_bytes() for path in code)])


def write_whole(target: Path, crops: np.ndarray) -> None:
    """Writes an .npy file that appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}.unfinished")
    try:
        with unfinished.open("wb") as file:
            # Not `write_array`, which forgets the reason (a full disk) when it cannot write.
            crops = np.ascontiguousarray(crops)
            header = np.lib.format.header_data_from_array_1_0(crops)
            np.lib.format.write_array_header_1_0(file, header)
            file.write(memoryview(crops).cast("B"))
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def remove_others(folder: Path, wanted: Iterable[Path]) -> None:
    """Removes from `folder` the files that are outdated or unfinished: all but `wanted`."""
    for path in set(folder.glob("*")) - set(wanted):
        if path.is_file():
            path.unlink()


def open_crops(path: Path) -> np.ndarray:
    """Maps a crop file into memory, read-only; an array of pickled objects is refused unread.

    Raises:
        DatasetError: the file is no array of numbers, or is cut short.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise DatasetError(
            f"{path}: is no crop file ({error}); remove it and build again: it is rendered anew"
        ) from error
