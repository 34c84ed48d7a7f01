"""How building luna16 grows with the number of scans and of crops: time, disk, memory.

    python benchmarks/build_scaling.py

Drawn scans in LUNA16's layout, whose candidates are filled up with random centres to as many
crops a scan as are asked for, are built at all four resolutions by a fresh process each time. Time
and disk are fitted by what each scan and each crop adds (non-negative least squares), and the whole
of LUNA16 is extrapolated from that. Memory is the highest sum of the anonymous resident memory of
the build's processes, sampled ten times a second: pages of files that the kernel may drop at will
are not counted.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from mlp_med.cores import available_cores
from mlp_med.phantoms.luna16 import write_luna16
from mlp_med.processor import processor_name

# Scans × crops a scan: few and many of either tell their costs apart. TFDS holds up to 1 GB
# of crops to shuffle before it turns to the disk, which the last two builds are beyond.
BUILDS = ((4, 40), (4, 400), (8, 200), (16, 40), (16, 400), (16, 800))
LUNA16 = {"scans": 888, "crops": 754_975}
ALL_CANDIDATES = 1e9  # non-nodules a nodule
BUILD = (
    "import sys; from tfds_builders.luna16 import build; "
    f"build(sys.argv[1], sys.argv[2], negatives_per_positive={ALL_CANDIDATES})"
)


def write_release(folder: Path, num_scans: int, crops_per_scan: int) -> None:
    """Drawn scans, each with `crops_per_scan` candidates."""
    write_luna16(folder, num_scans=num_scans, seed=0)
    table = folder / "candidates_V2.csv"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(0)
    with table.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for series in sorted({row["seriesuid"] for row in rows}):
            known = np.array(
                [
                    [float(row[f"coord{axis}"]) for axis in "XYZ"]
                    for row in rows
                    if row["seriesuid"] == series
                ]
            )
            missing = crops_per_scan - len(known)
            # Between the candidates that are there, so within the scan.
            for centre in rng.uniform(known.min(0), known.max(0), (max(missing, 0), 3)):
                writer.writerow([series, *centre.round(2), 0])


def build(source: Path, data_dir: Path) -> dict[str, float]:
    """Builds in a fresh process: seconds, bytes on disk, examples, peak anonymous memory."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", BUILD, str(source), str(data_dir)])
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(anonymous_bytes(pid) for pid in process_tree(process.pid)))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"the build of {source} ended with exit code {process.returncode}")
    seconds = time.perf_counter() - began
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    (info, *_) = (path for path in files if path.name == "dataset_info.json")
    splits = json.loads(info.read_text())["splits"]
    return {
        "seconds": seconds,
        "disk_bytes": sum(path.stat().st_size for path in files),
        "crops": sum(int(n) for split in splits for n in split["shardLengths"]),
        "anonymous_bytes": peak,
    }


def process_tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(grandchild for child in children for grandchild in process_tree(child))]


def anonymous_bytes(pid: int) -> int:
    """Resident memory of a process that no file backs; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def fit(rows: list[dict[str, float]], figure: str) -> np.ndarray:
    """What a build costs by itself, each scan adds, and each crop adds [3]; none below 0."""
    design = np.array([[1.0, row["scans"], row["crops"]] for row in rows])
    values = np.array([row[figure] for row in rows])
    # Relative errors, so that the small builds count as much as the large.
    cost, _ = nnls(design / values[:, None], np.ones(len(values)))
    return cost


def whole(cost: np.ndarray) -> float:
    """The figure at all scans and candidates of LUNA16."""
    return float(cost @ [1.0, LUNA16["scans"], LUNA16["crops"]])


def main() -> None:
    """Builds, fits and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also keep the figures here")
    arguments = parser.parse_args()
    rows = []
    print(f"{processor_name()}, {available_cores()} cores; drawn scans, four resolutions")
    for num_scans, crops_per_scan in BUILDS:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "release"
            write_release(source, num_scans, crops_per_scan)
            row = {"scans": num_scans, **build(source, Path(folder) / "data")}
        rows.append(row)
        print(
            f"{num_scans:3} scans, {row['crops']:6,} crops: {row['seconds']:6.1f} s, "
            f"{row['disk_bytes'] / 1e6:8.1f} MB on disk, "
            f"{row['anonymous_bytes'] / 1e6:6.0f} MB of memory",
            flush=True,
        )
    seconds, disk = fit(rows, "seconds"), fit(rows, "disk_bytes")
    print(f"a scan {seconds[1]:.2f} s, a crop {1e3 * seconds[2]:.2f} ms and {disk[2] / 1e3:.1f} kB")
    print(
        f"LUNA16 ({LUNA16['scans']} scans, {LUNA16['crops']:,} candidates), extrapolated: "
        f"{whole(seconds) / 3600:.1f} h, {whole(disk) / 1e9:.0f} GB"
    )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
