"""A tiny source in LUNA16's layout, written anew for each test that asks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

SPACING = 2.5
SIZE = 24  # a cube of 60 mm

HEADER = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = -30 -30 -100
ElementSpacing = {spacing} {spacing} {spacing}
DimSize = {size} {size} {size}
ElementType = MET_SHORT
ElementDataFile = {name}.raw
"""


@dataclass
class TinySource:
    """Tables as lists of csv lines, so that a test can spoil one of them, and `write` again."""

    root: Path
    candidates: list[str] = field(default_factory=lambda: ["seriesuid,coordX,coordY,coordZ,class"])
    annotations: list[str] = field(
        default_factory=lambda: ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    )
    excluded: list[str] = field(
        default_factory=lambda: ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    )
    series: list[str] = field(default_factory=list)

    def write(self, newline: str = "\n") -> Path:
        tables = {
            "candidates_V2.csv": self.candidates,
            "annotations.csv": self.annotations,
            "annotations_excluded.csv": self.excluded,
            "seriesuids.csv": self.series,
        }
        for name, lines in tables.items():
            (self.root / name).write_bytes((newline.join(lines) + newline).encode())
        return self.root

    def add_scan(self, subset: str, series: str, seed: int) -> None:
        """A scan with two nodules (three candidates of the first) and eight non-nodules."""
        folder = self.root / subset
        folder.mkdir(parents=True, exist_ok=True)
        header = HEADER.format(spacing=SPACING, size=SIZE, name=series)
        (folder / f"{series}.mhd").write_text(header)
        voxels = np.random.default_rng(seed).integers(-1000, 400, (SIZE,) * 3, dtype=np.int16)
        (folder / f"{series}.raw").write_bytes(voxels.tobytes())
        self.series.append(series)
        self.annotations += [f"{series},-10,0,-70,6.5", f"{series},15,5,-80,9"]
        self.candidates += [f"{series},{x},0,-70,1" for x in (-10.5, -9.25, -11)]
        self.candidates += [f"{series},15.5,5,-80,1"]
        self.candidates += [f"{series},{4 * i - 14},-15,-{62 + 3 * i},0" for i in range(8)]

    def scan_file(self, number: int, suffix: str = ".mhd") -> Path:
        return sorted(self.root.glob(f"subset*/*{suffix}"))[number]


def _make_source(root: Path, num_scans: int = 5, seed: int = 0) -> TinySource:
    """A source of `num_scans` scans; from the third on every split has some."""
    source = TinySource(root)
    for number in range(num_scans):
        subset = f"subset{[0, 2, 3, 1, 4, 5, 6, 7, 8, 9][number % 10]}"
        source.add_scan(subset, f"1.2.840.{number}", seed + number)
    source.write()
    return source


@pytest.fixture(scope="session")
def make_source() -> Callable[..., TinySource]:
    """Makes a source in a directory of the test's choice."""
    return _make_source


@pytest.fixture
def tiny_source(tmp_path: Path) -> Callable[..., TinySource]:
    """Makes a source in the test's own directory."""
    return lambda num_scans=5, name="source": _make_source(tmp_path / name, num_scans)
