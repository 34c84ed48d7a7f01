"""Where a release keeps its scans and tables, and which subset belongs to which split."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlp_med.errors import SourceError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Layout:
    """A release on disk; a table that is absent is an empty tuple.

    Attributes:
        release: "LUNA16" or "Tianchi 2017".
        root: the source directory.
        subsets: folder of scans by its name, those of a split only.
        split_of: split by the name of the subset.
        unlabelled: folders of scans that the release has no labels for.
        annotations: tables of nodules with their diameters.
        candidates: tables of candidate centres with their classes.
        excluded: tables of findings that are neither nodule nor non-nodule.
        series: lists of the series that belong to the release.
        wanted_candidates: where the candidates should be, for messages.
    """

    release: str
    root: Path
    subsets: dict[str, Path]
    split_of: dict[str, str]
    unlabelled: tuple[Path, ...]
    annotations: tuple[Path, ...]
    candidates: tuple[Path, ...]
    excluded: tuple[Path, ...]
    series: tuple[Path, ...]
    wanted_candidates: str

    @property
    def tables(self) -> tuple[Path, ...]:
        """Every csv file that shapes the dataset."""
        return (*self.annotations, *self.candidates, *self.excluded, *self.series)


def find_layout(root: Path) -> Layout:
    """Recognises the release in `root`.

    Raises:
        SourceError: no such directory, or neither release (or both) in it.
    """
    if not root.is_dir():
        raise SourceError(f"{root}: expected a directory that holds the release")
    luna16 = _folders(root, r"subset\d")
    tianchi = _folders(root, r"(train|val|test)_subset\d\d")
    if bool(luna16) == bool(tianchi):
        raise SourceError(
            f"{root}: expected LUNA16's folders subset0 … subset9 with <series>.mhd, or Tianchi's "
            f"train_subset00 … and val_subset00 …; found {'both' if luna16 else 'neither'}"
        )
    return _luna16(root, luna16) if luna16 else _tianchi(root, tianchi)


def _luna16(root: Path, folders: dict[str, Path]) -> Layout:
    def split(name: str) -> str:
        return {"subset0": "test", "subset1": "test", "subset2": "validation"}.get(name, "train")

    # Also where the archives of the release put them when they are unpacked in one place.
    places = ("", "CSVFILES", "candidates_V2", "evaluationScript/annotations")
    return _layout(
        "LUNA16", root, folders, split, [[*places]], "candidates_V2.csv", "candidates_V2.csv"
    )


def _tianchi(root: Path, folders: dict[str, Path]) -> Layout:
    def split(name: str) -> str:
        if name.startswith("train"):
            return "validation" if name in ("train_subset00", "train_subset01") else "train"
        return "test" if name.startswith("val") else ""  # test_subset… came without labels

    return _layout(
        "Tianchi 2017",
        root,
        folders,
        split,
        [["csv/train"], ["csv/val"]],
        "candidates.csv",
        "csv/train/candidates.csv and csv/val/candidates.csv (the release has none: those of a "
        "detector of your own, with LUNA16's columns seriesuid,coordX,coordY,coordZ,class)",
    )


def _layout(
    release: str,
    root: Path,
    folders: dict[str, Path],
    split: Callable[[str], str],
    tables_in: Sequence[Sequence[str]],
    candidates_name: str,
    wanted_candidates: str,
) -> Layout:
    """Of each member of `tables_in`, the first place that holds a table counts."""

    def find(name: str) -> tuple[Path, ...]:
        found = []
        for places in tables_in:
            paths = (root / place / name for place in places)
            found += [path for path in paths if path.is_file()][:1]
        return tuple(found)

    return Layout(
        release=release,
        root=root,
        subsets={name: folder for name, folder in folders.items() if split(name)},
        split_of={name: split(name) for name in folders if split(name)},
        unlabelled=tuple(folder for name, folder in folders.items() if not split(name)),
        annotations=find("annotations.csv"),
        candidates=find(candidates_name),
        excluded=find("annotations_excluded.csv"),
        series=find("seriesuids.csv"),
        wanted_candidates=wanted_candidates,
    )


def _folders(root: Path, pattern: str) -> dict[str, Path]:
    return {
        path.name: path
        for path in sorted(root.iterdir())
        if path.is_dir() and re.fullmatch(pattern, path.name)
    }
