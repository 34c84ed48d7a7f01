"""Writes a phantom in exactly the file layout of LUNA16."""

from functools import partial
from pathlib import Path

import numpy as np

from mlp_med.errors import SourceError
from mlp_med.phantoms import variants
from mlp_med.phantoms.controls import FINE_BLOB_MM
from mlp_med.phantoms.metaimage import write_metaimage
from mlp_med.phantoms.release import (
    Progress,
    Release,
    num_bytes,
    write_release,
    write_whole,
)
from mlp_med.phantoms.scan import PHANTOM_VERSION, world_placement

NUM_SUBSETS = 10
TABLES = {
    "annotations.csv": "seriesuid,coordX,coordY,coordZ,diameter_mm",
    "candidates_V2.csv": "seriesuid,coordX,coordY,coordZ,class",
}
VARIANT_KEYS = ("variant", "blob_mm")

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
        num_scans: at least 1; a scan takes 34 to 84 MB, of a control 29 or 57 MB.
        seed: 0 or more.
        variant: "nodules" among their mimics, "nodules_alone" without these, or a control:
            "coarse_answer", whose answer every resolution holds, or "fine_answer", whose answer
            only voxels finer than 5 mm hold.
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
    release = Release(
        identity=identity,
        departures=variants.departures(variant, blob_mm),
        folders=[f"subset{subset}" for subset in range(NUM_SUBSETS)],
        scan_files=["subset*/*.raw"],
        scan_bytes=variants.largest_scan_bytes(variant),
        num_scans=num_scans,
        draw=partial(_write_scan, out, variant, blob_mm, seed),
        finish=_finish,
        variant_keys=VARIANT_KEYS,
    )
    return write_release(out, release, num_workers, progress)


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
    """Writes the tables; what PHANTOM.json says of them."""
    rows = sorted(rows, key=lambda scan: scan["seriesuids.csv"])
    for name in ["seriesuids.csv", *TABLES]:
        heading = [TABLES[name]] if name in TABLES else []
        lines = heading + [line for scan in rows for line in scan[name]]
        write_whole(out / name, "\n".join(lines) + "\n")
    num_nodules = sum(len(scan["annotations.csv"]) for scan in rows)
    return {
        "num_nodules": num_nodules,
        "num_mimics": sum(len(scan["candidates_V2.csv"]) for scan in rows) - num_nodules,
        "num_bytes": num_bytes(out, ["subset*/*.raw"]),
    }
