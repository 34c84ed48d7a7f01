"""Writes a phantom into a directory of its own: whole or marked unfinished, and resumable.

What every layout shares: PHANTOM.json says what the files are and whether all are there; scans are
drawn in processes of their own; what was interrupted goes on where it stopped.
"""

import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mlp_med.cores import available_cores
from mlp_med.errors import SourceError
from mlp_med.json_records import read_json_object

STATEMENT = "Drawn by mlp_med, not scanned: no patient, and nothing that holds for medicine."
MARKER = "PHANTOM.json"
# What the command line was told of a phantom, and the version of the program that drew it.
DRAWN_BY = (
    *("name", "version", "variant", "blob_mm", "seed"),
    *("num_scans", "num_slides", "num_patients", "num_exams"),
)

Progress = Callable[[int, int], None]
Drawn = TypeVar("Drawn")


def drawing(root: Path) -> str:
    """What a phantom was drawn by: equal for phantoms that are the same up to rounding.

    Digests are not: another processor type rounds a few voxels and centres otherwise.

    Args:
        root: of a source.

    Returns:
        E.g. "name=luna16, version=2, seed=0, num_scans=100"; "" where the source is no phantom, or
        is not there.
    """
    try:
        marker = read_json_object(root / MARKER, SourceError, "write the phantom again")
        return ", ".join(f"{name}={marker[name]}" for name in DRAWN_BY if name in marker)
    except SourceError:
        return ""


@dataclass(frozen=True)
class Release(Generic[Drawn]):
    """A phantom in the layout of some release.

    Attributes:
        identity: what makes it this phantom: name, version, seed, number of scans, ….
        departures: in what it differs from real scans, a sentence each.
        folders: made at the start.
        scan_files: patterns, below the directory, of the files that take the room.
        scan_bytes: of the largest scan.
        num_scans: how many there are to draw.
        draw: a scan's number → what the tables say of it; writes its files unless they are there.
            A function that another process can be sent.
        finish: (directory, what was drawn, in order) → what PHANTOM.json says besides; writes the
            tables.
        variant_keys: keys of the identity that only other variants of this phantom have.
    """

    identity: dict[str, object]
    departures: Sequence[str]
    folders: Sequence[str]
    scan_files: Sequence[str]
    scan_bytes: int
    num_scans: int
    draw: Callable[[int], Drawn]
    finish: Callable[[Path, list[Drawn]], dict[str, object]]
    variant_keys: Sequence[str] = ()


def write_release(
    out: Path,
    release: Release[Drawn],
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, object]:
    """Writes the phantom, or what is missing of it; one that is finished is left as it is.

    Args:
        out: made if absent; else empty, or this very phantom.
        release: what to write.
        num_workers: processes; one for each core if None.
        progress: called as progress(scans done, num_scans).

    Returns:
        What PHANTOM.json says.

    Raises:
        SourceError: `out` holds something else, or the disk is or becomes full.
    """
    found = _found(out, release)
    if found is not None and found["complete"]:
        return found
    try:
        _start(out, release)
        workers = min(num_workers or available_cores(), release.num_scans)
        drawn = _draw_all(out, release, workers, progress)
        summary = {**_described(release), "complete": True, **release.finish(out, drawn)}
        write_whole(out / MARKER, _as_json(summary))
        return summary
    except OSError as error:
        raise SourceError(
            f"{out}: writing the phantom stopped: {error}. Make room (up to "
            f"{release.num_scans * release.scan_bytes / 1e9:.1f} GB) and run again: it goes on "
            "from there."
        ) from error


def num_bytes(out: Path, patterns: Sequence[str]) -> int:
    """Bytes of the files below `out` that fit a pattern."""
    return sum(path.stat().st_size for pattern in patterns for path in out.glob(pattern))


def write_whole(path: Path, text: str) -> None:
    """Writes a file that is either whole or absent."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text)
    unfinished.replace(path)


def _described(release: Release[Drawn]) -> dict[str, object]:
    return {
        **release.identity,
        "statement": STATEMENT,
        "departures": list(release.departures),
    }


def _found(out: Path, release: Release[Drawn]) -> dict[str, object] | None:
    """What is already in `out`: None if nothing, else the marker of this phantom."""
    if not out.exists():
        return None
    if not out.is_dir():
        raise SourceError(f"{out} is a file; a phantom needs a directory of its own")
    marker = out / MARKER
    if not marker.exists():
        if any(out.iterdir()):
            raise SourceError(
                f"{out} is not empty and no phantom ({MARKER} is missing): choose another directory"
            )
        return None
    try:
        found: dict[str, object] = read_json_object(marker, SourceError, f"remove {out}")
        keys = {*release.identity, *(key for key in release.variant_keys if key in found)}
        held = {key: found[key] for key in sorted(keys)}
        found["complete"] = bool(found["complete"])
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{marker} cannot be read ({error!r}): remove {out}") from error
    if held != release.identity:
        raise SourceError(
            f"{out} holds another phantom, {held}, not {release.identity}: choose another directory"
        )
    return found


def _start(out: Path, release: Release[Drawn]) -> None:
    """Makes the directories, leftovers removed, and marks the phantom as unfinished."""
    for folder in release.folders:
        (out / folder).mkdir(parents=True, exist_ok=True)
    for leftover in out.glob("**/*.unfinished"):
        leftover.unlink()
    write_whole(out / MARKER, _as_json({**_described(release), "complete": False}))
    wanted = release.num_scans * release.scan_bytes
    free = shutil.disk_usage(out).free
    if free < 0.6 * (wanted - num_bytes(out, release.scan_files)):
        raise OSError(f"only {free / 1e9:.1f} GB are free")


def _draw_all(
    out: Path, release: Release[Drawn], num_workers: int, progress: Progress | None
) -> list[Drawn]:
    """Draws every scan in processes of its own kind; what each told, in order."""
    drawn: dict[int, Drawn] = {}
    # Not forkserver: its one server a process may be wanted with other modules loaded. And not in
    # this process, whose libraries may compute with more threads, which can change the last bit.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, _prepare_worker) as pool:
        pending = {pool.submit(release.draw, n): n for n in range(release.num_scans)}
        try:
            for done in as_completed(pending):
                drawn[pending[done]] = done.result()
                if progress is not None:
                    progress(len(drawn), release.num_scans)
        except BrokenProcessPool as error:
            raise SourceError(
                f"{out}: a process that draws scans was killed (out of memory? each takes about "
                "0.7 GB). Run again, with fewer workers: it goes on from there."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return [drawn[number] for number in range(release.num_scans)]


def _prepare_worker() -> None:
    """One thread to compute with, and no life without the parent."""
    threadpool_limits(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _as_json(value: dict[str, object]) -> str:
    return json.dumps(value, indent=2) + "\n"
