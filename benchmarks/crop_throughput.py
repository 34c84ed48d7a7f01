"""Crops a second from a scan on disk, beside MONAI and TorchIO.

    python benchmarks/crop_throughput.py --scan SCAN.mhd --torch-python PATH

One scan is read, and crops of 40 mm about random centres are rendered at four resolutions: here in
one anti-aliased step from the native voxels around each centre; by the others, as their users do,
by resampling the whole scan to each resolution (`Spacing`, `Resample`: linear, not anti-aliased),
then cutting, which pays the more the more crops a scan has (--crops). One process, one thread each,
in turns. Their grids pass through the scan's origin and not through the centre, so that a crop lies
up to half a voxel off along each axis; outputs are compared on a ramp, where all these
interpolations are exact, up to that shift.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from mlp_med.imaging.crop import crop_size, render_crop
from mlp_med.imaging.volume import read_volume

EXTENT_MM = 40.0
SPACINGS_MM = (0.625, 1.25, 2.5, 5.0)
LIBRARIES = ("MONAI", "TorchIO")


def centres_within(scan: Path, count: int) -> np.ndarray:
    """Random points [count, 3] in mm whose field lies within the scan's x and y."""
    image = sitk.ReadImage(str(scan))
    edges = np.array(image.GetSize()) * image.GetSpacing()
    margin = np.minimum(EXTENT_MM / 2 + max(SPACINGS_MM), edges / 2 - 1)
    drawn = np.random.default_rng(0).uniform(margin, edges - margin, (count, 3))
    return drawn + np.array(image.GetOrigin())


def ours(scan: Path, centres_mm: np.ndarray) -> list[np.ndarray]:
    """Crops [k, z, y, x] float32, a resolution each; the scan is read once."""
    volume = read_volume(scan)
    crops = []
    for spacing_mm in SPACINGS_MM:
        size = crop_size(EXTENT_MM, spacing_mm)
        cut = np.empty((len(centres_mm), size, size, size), np.float32)
        for crop, centre in zip(cut, centres_mm, strict=True):
            crop[...] = render_crop(volume, centre, EXTENT_MM, spacing_mm)
        crops.append(cut)
    return crops


class Others:
    """The other libraries' process."""

    def __init__(self, python: str):
        script = Path(__file__).with_name("torch_crops.py")
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([python, script], stdin=pipe, stdout=pipe, text=True)

    def cut(
        self, library: str, scan: Path, centres_mm: np.ndarray
    ) -> tuple[float, list[np.ndarray]]:
        """Seconds, and crops as `ours`."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "crops.npz"
            request = {
                "scan": str(scan),
                "centres_mm": centres_mm.tolist(),
                "extent_mm": EXTENT_MM,
                "spacings_mm": SPACINGS_MM,
                "library": library,
                "out": str(out),
            }
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            if not answer:
                raise SystemExit("the other process ended; are MONAI and TorchIO installed there?")
            with np.load(out) as crops:
                return json.loads(answer)["seconds"], [crops[str(i)] for i in range(len(crops))]


def write_ramp(like: Path, path: Path) -> None:
    """A scan of the same geometry whose value is 1 HU a mm along every axis."""
    image = sitk.ReadImage(str(like))
    axes = [np.arange(n) * s for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    x, y, z = axes
    ramp = (z[:, None, None] + y[None, :, None] + x[None, None, :]).astype(np.float32)
    drawn = sitk.GetImageFromArray(ramp)
    drawn.CopyInformation(image)
    sitk.WriteImage(drawn, str(path))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", type=Path, required=True, help="a scan that SimpleITK reads")
    parser.add_argument("--crops", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch-python", default=sys.executable, help="with MONAI and TorchIO")
    arguments = parser.parse_args()
    centres = centres_within(arguments.scan, arguments.crops)
    others = Others(arguments.torch_python)
    seconds: dict[str, list[float]] = {"mlp_med": [], **{name: [] for name in LIBRARIES}}
    for _ in range(arguments.rounds):
        began = time.perf_counter()
        ours(arguments.scan, centres)
        seconds["mlp_med"].append(time.perf_counter() - began)
        for library in LIBRARIES:
            seconds[library].append(others.cut(library, arguments.scan, centres)[0])
    for name, values in seconds.items():
        rate = arguments.crops * len(SPACINGS_MM) / statistics.median(values)
        print(f"{name:8} {statistics.median(values):7.2f} s   {rate:7.1f} crops a second")
    compare(arguments.scan, centres[:8], others)


def compare(scan: Path, centres_mm: np.ndarray, others: Others) -> None:
    """Prints how far the others' crops of a ramp are from ours, whose slope moves them."""
    with tempfile.TemporaryDirectory() as folder:
        ramp = Path(folder) / "ramp.mhd"
        write_ramp(scan, ramp)
        mine = ours(ramp, centres_mm)
        for library in LIBRARIES:
            _, theirs = others.cut(library, ramp, centres_mm)
            for spacing_mm, a, b in zip(SPACINGS_MM, mine, theirs, strict=True):
                # On a ramp a shift of the whole crop is a constant: it is taken out.
                inner = (slice(None), *[slice(a.shape[1] // 4, -(a.shape[1] // 4))] * 3)
                off = (a - b)[inner].reshape(len(a), -1)
                shape = np.abs(off - np.median(off, axis=1, keepdims=True)).max()
                shift = np.abs(np.median(off, axis=1)).max()
                print(
                    f"{library} at {spacing_mm:g} mm: at most {shape:.3f} HU from ours on a ramp "
                    f"of 1 HU a mm, but for a shift of {shift:.2f} mm over the three axes together"
                )


if __name__ == "__main__":
    main()
