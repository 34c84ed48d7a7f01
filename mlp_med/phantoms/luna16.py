"""Writes a phantom in exactly the file layout of LUNA16."""

import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mlp_med.cores import available_cores
from mlp_med.errors import SourceError
from mlp_med.phantoms import variants
from mlp_med.phantoms.controls import FINE_BLOB_MM
from mlp_med.phantoms.metaimage import write_metaimage
from mlp_med.phantoms.scan import PHANTOM_VERSION, world_placement

NUM_SUBSETS = 10
STATEMENT = "Drawn by mlp_med, not scanned: no patient, and nothing that holds for medicine."
TABLES = {
    "annotations.csv": "seriesuid,coordX,coordY,coordZ,diameter_mm",
    "candidates_V2.csv": "seriesuid,coordX,coordY,coordZ,class",
}
MARKER = "PHANTOM.json"
VARIANT_KEYS = ("variant", "blob_mm")

Progress = Callable[[int, int], None]
ScanRows = dict[str, list[str]]


def write_luna16(
    out: Path | str,
    *,
    num_scans: int,
    seed: int,
    variant: str = variants.NODULES,
    blob_mm: float = FINE_BLOB_MM,
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, object]:
    """Writes `num_scans` scans with their tables into the directory `out`.

    The scans, spread evenly over subset0 … subset9, depend on the seed and their number alone, not
    on `num_workers` (None: one for each core) nor on `num_scans`. The departures from real scans
    are listed in PHANTOM.json, which also marks a phantom that is not finished (complete: false);
    the tables come last. Run again with the same arguments, an interrupted phantom is completed
    and a finished one is left as it is.

    Args:
        out: made if absent; else empty, or this very phantom.
        num_scans: at least 1; a scan takes 34 to 84 MB, of a control 29 MB.
        seed: 0 or more.
        variant: "nodules" among their mimics, or a control: "coarse_answer", whose answer every
            resolution holds, or "fine_answer", whose answer only voxels finer than 5 mm hold.
        blob_mm: size of the structure that the answer lies in, for "fine_answer": 2.5 for a study
            whose finest voxels have 1.25 mm, 1.25 for one with 0.625 mm.
        num_workers: processes, at least 1.
        progress: called as progress(scans done, num_scans).

    Returns:
        What PHANTOM.json says.

    Raises:
        SourceError: no such variant, `out` holds something else, or the disk is or becomes full.
    """
    out = Path(out)
    if num_scans < 1 or seed < 0 or (num_workers is not None and num_workers < 1):
        raise SourceError(
            "a phantom needs num_scans ≥ 1, seed ≥ 0 and num_workers ≥ 1; "
            f"got {num_scans}, {seed} and {num_workers}"
        )
    variants.require_variant(variant, blob_mm)
    identity = {
        "name": "luna16",
        "version": PHANTOM_VERSION,
        "seed": seed,
        "num_scans": num_scans,
        **variants.identity(variant, blob_mm),
    }
    found = _found(out, identity)
    if found is not None and found["complete"]:
        return found
    try:
        departures = variants.departures(variant, blob_mm)
        scan_bytes = variants.largest_scan_bytes(variant)
        _start(out, {**identity, "statement": STATEMENT, "departures": departures}, scan_bytes)
        workers = num_workers or available_cores()
        draw = partial(_write_scan, out, variant, blob_mm, seed)
        rows = _write_scans(out, draw, num_scans, min(workers, num_scans), progress)
        return _finish(out, rows)
    except OSError as error:
        raise SourceError(
            f"{out}: writing the phantom stopped: {error}. Make room (up to "
            f"{num_scans * scan_bytes / 1e9:.1f} GB) and run again: it goes on from there."
        ) from error


def _found(out: Path, identity: dict[str, object]) -> dict[str, object] | None:
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
        found = json.loads(marker.read_text())
        keys = {*identity, *(key for key in VARIANT_KEYS if key in found)}
        held = {key: found[key] for key in sorted(keys)}
        found["complete"] = bool(found["complete"])
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{marker} cannot be read ({error!r}): remove {out}") from error
    if held != identity:
        raise SourceError(
            f"{out} holds another phantom, {held}, not {identity}: choose another directory"
        )
    return found


def _start(out: Path, description: dict[str, object], scan_bytes: int) -> None:
    """Makes the directories, leftovers removed, and marks the phantom as unfinished."""
    for subset in range(NUM_SUBSETS):
        (out / f"subset{subset}").mkdir(parents=True, exist_ok=True)
    for leftover in out.glob("**/*.unfinished"):
        leftover.unlink()
    _write_whole(out / MARKER, _as_json({**description, "complete": False}))
    wanted = int(description["num_scans"]) * scan_bytes  # type: ignore[call-overload]
    present = sum(raw.stat().st_size for raw in out.glob("subset*/*.raw"))
    free = shutil.disk_usage(out).free
    if free < 0.6 * (wanted - present):
        raise OSError(f"only {free / 1e9:.1f} GB are free")


def _write_scans(
    out: Path,
    draw: Callable[[int], ScanRows],
    num_scans: int,
    num_workers: int,
    progress: Progress | None,
) -> list[ScanRows]:
    """Writes every scan in processes of its own kind; the rows of each, in order."""
    rows: dict[int, ScanRows] = {}
    # Not forkserver: its one server a process may be wanted with other modules loaded. And not in
    # this process, whose libraries may compute with more threads, which can change the last bit.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, _prepare_worker) as pool:
        pending = {pool.submit(draw, n): n for n in range(num_scans)}
        try:
            for done in as_completed(pending):
                rows[pending[done]] = done.result()
                if progress is not None:
                    progress(len(rows), num_scans)
        except BrokenProcessPool as error:
            raise SourceError(
                f"{out}: a process that draws scans was killed (out of memory? each takes about "
                "0.7 GB). Run again, with fewer workers: it goes on from there."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return [rows[number] for number in range(num_scans)]


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


def _write_scan(out: Path, variant: str, blob_mm: float, seed: int, number: int) -> ScanRows:
    """Writes one scan unless it is there, and returns its rows of the tables."""
    plan = variants.plan(variant, seed, number, blob_mm)
    origin, flipped = world_placement(seed, number)
    header = out / f"subset{number % NUM_SUBSETS}" / f"{plan.series_uid}.mhd"
    if not header.exists():
        write_metaimage(
            header,
            variants.render(plan),
            origin_mm=origin,
            spacing_mm=(plan.grid.pixel_mm, plan.grid.pixel_mm, plan.grid.slice_mm),
            flipped=flipped,
        )
    rows: ScanRows = {"seriesuids.csv": [plan.series_uid], **{name: [] for name in TABLES}}
    for finding in plan.findings:
        mark = _row(plan.series_uid, finding.candidate_mm + origin, f"{int(finding.is_nodule)}")
        rows["candidates_V2.csv"].append(mark)
        if finding.is_nodule:
            centre, diameter = finding.centre_mm + origin, finding.diameter_mm
            rows["annotations.csv"].append(_row(plan.series_uid, centre, f"{diameter:.6f}"))
    return rows


def _row(series_uid: str, position_mm: np.ndarray, last: str) -> str:
    return ",".join([series_uid, *(f"{coordinate:.6f}" for coordinate in position_mm), last])


def _finish(out: Path, rows: list[ScanRows]) -> dict[str, object]:
    """Writes the tables, then the marker that says that all is there."""
    rows = sorted(rows, key=lambda scan: scan["seriesuids.csv"])
    for name in ["seriesuids.csv", *TABLES]:
        heading = [TABLES[name]] if name in TABLES else []
        lines = heading + [line for scan in rows for line in scan[name]]
        _write_whole(out / name, "\n".join(lines) + "\n")
    summary: dict[str, object] = json.loads((out / MARKER).read_text())
    num_nodules = sum(len(scan["annotations.csv"]) for scan in rows)
    summary["num_nodules"] = num_nodules
    summary["num_mimics"] = sum(len(scan["candidates_V2.csv"]) for scan in rows) - num_nodules
    summary["num_bytes"] = sum(raw.stat().st_size for raw in out.glob("subset*/*.raw"))
    summary["complete"] = True
    _write_whole(out / MARKER, _as_json(summary))
    return summary


def _as_json(value: dict[str, object]) -> str:
    return json.dumps(value, indent=2) + "\n"


def _write_whole(path: Path, text: str) -> None:
    """Writes a file that is either whole or absent."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text)
    unfinished.replace(path)
