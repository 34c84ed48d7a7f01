"""What surrounds a build: one at a time, no leftovers of killed ones, a full disk said so."""

import errno
import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlp_med.errors import DatasetError


@contextmanager
def exclusive_build(data_dir: Path, dataset: str) -> Iterator[None]:
    """Waits until no other process builds `dataset` in `data_dir`.

    The lock is the kernel's: it goes with the process that holds it, however that one ends.
    """
    with disk_full_said_so(data_dir):
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / f".{dataset}.lock").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove_leftovers(data_dir: Path, dataset: str) -> list[Path]:
    """Removes what killed builds of `dataset` left behind; call it under `exclusive_build`."""
    leftovers = sorted((data_dir / dataset).glob("**/incomplete.*"))
    for leftover in leftovers:
        shutil.rmtree(leftover, ignore_errors=True)
    return leftovers


def crop_store(data_dir: Path, dataset: str) -> Path:
    """Where rendered crops wait until their datasets are written; not made by asking."""
    return data_dir / ".crops" / dataset


def remove_crop_store(data_dir: Path, dataset: str, resolution: str | None = None) -> None:
    """Frees the crops of one resolution (a config's name) or of all, and folders left empty."""
    store = crop_store(data_dir, dataset)
    shutil.rmtree(store / resolution if resolution else store, ignore_errors=True)
    for folder in (store, store.parent):
        with suppress(OSError):  # others still need it, or it never was
            folder.rmdir()


def require_free_space(data_dir: Path, needed_bytes: int) -> None:
    """Refuses a build that cannot fit.

    Raises:
        DatasetError: fewer than `needed_bytes` are free where `data_dir` lies.
    """
    free = shutil.disk_usage(data_dir).free
    if free < needed_bytes:
        raise DatasetError(
            f"{data_dir}: building needs {needed_bytes / 1e9:.2f} GB for a while, "
            f"{free / 1e9:.2f} GB are free; free some, choose another data directory, "
            "or fewer resolutions"
        )


@contextmanager
def disk_full_said_so(data_dir: Path) -> Iterator[None]:
    """Turns any sign of a full disk, also TensorFlow's own errors, into a DatasetError."""
    try:
        yield
    except Exception as error:
        if not _is_disk_full(error):
            raise
        raise DatasetError(
            f"{data_dir}: the disk is full; no unfinished dataset is left. Free space and build "
            f"again: finished crops wait in {data_dir / '.crops'} (that folder may be removed)"
        ) from error


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
