"""The scans of a release: found, their headers read and checked, no voxel touched."""

import re
from dataclasses import dataclass
from pathlib import Path

from mlp_med.errors import ImageError, SourceError
from mlp_med.imaging.volume import VolumeHeader, read_header
from tfds_builders.hashing import digest_of
from tfds_builders.luna16.layout import Layout
from tfds_builders.phantom_marker import MARKER

# A series id becomes part of no path, yet a table that holds "../" is not what it claims to be.
# One that began with "-" would be a formula to a spreadsheet that opens a submission.
SERIES = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan whose header is sound and whose voxel file has the size that the header says.

    Attributes:
        series: its series id, which counts as its patient.
        subset: the folder it lies in.
        split: "train", "validation" or "test".
        path: the .mhd file.
        header: spacing, origin, direction and size.
        header_text: the .mhd file as it is.
        data_bytes: size of the file of voxels.
    """

    series: str
    subset: str
    split: str
    path: Path
    header: VolumeHeader
    header_text: bytes
    data_bytes: int

    @property
    def fold(self) -> int:
        """Of LUNA16's ten-fold cross-validation, whose folds are its subsets; −1 for Tianchi."""
        named = re.fullmatch(r"subset(\d)", self.subset)
        return int(named[1]) if named else -1


def find_scans(layout: Layout) -> tuple[dict[str, Scan], list[str]]:
    """All scans by their series id, and what is wrong with those that are left out."""
    scans: dict[str, Scan] = {}
    problems: list[str] = []
    for subset, folder in layout.subsets.items():
        for path in sorted(folder.glob("*.mhd")):
            try:
                scan = _read_scan(path, subset, layout.split_of[subset])
                if scan.series in scans:
                    raise SourceError(
                        f"{path}: the series lies in {scans[scan.series].subset} as well; "
                        "keep one of the two"
                    )
                scans[scan.series] = scan
            except (ImageError, SourceError) as error:
                problems.append(str(error))
    return scans, problems


def source_digest(layout: Layout, scans: dict[str, Scan]) -> str:
    """Digest of the tables' contents, every header's text and every voxel file's size.

    Not of the voxels: two scans that differ in nothing but voxels have the same digest.
    """
    marker = layout.root / MARKER
    parts: list[str | bytes] = [layout.release]
    for path in (*layout.tables, *([marker] if marker.is_file() else [])):
        parts += [path.relative_to(layout.root).as_posix(), path.read_bytes()]
    for series in sorted(scans):
        scan = scans[series]
        parts += [scan.subset, series, scan.header_text, str(scan.data_bytes)]
    return digest_of(parts)


def _read_scan(path: Path, subset: str, split: str) -> Scan:
    if not SERIES.fullmatch(path.stem):
        raise SourceError(f"{path}: expected a series id of letters, digits, '.', '_' and '-'")
    header = read_header(path)
    if header.data_path.resolve().parent != path.resolve().parent:
        raise SourceError(
            f"{path}: expected ElementDataFile beside the header, found {header.data_path}"
        )
    return Scan(
        series=path.stem,
        subset=subset,
        split=split,
        path=path,
        header=header,
        header_text=path.read_bytes(),
        data_bytes=header.data_path.stat().st_size,
    )
