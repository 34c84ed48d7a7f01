"""Where the images of an exam are, also where upper and lower case differ from the table."""

from collections.abc import Iterable
from pathlib import Path

from tfds_builders.letter_case import by_lower_case

SUFFIXES = (".dicom", ".dcm")


class Images:
    """The folders of studies, each listed when first asked for.

    Args:
        folder: that holds them.
        problems: grows by names that could be meant by several files.
    """

    def __init__(self, folder: Path, problems: list[str]):
        self._folder, self._problems = folder, problems
        self._studies: dict[str, list[Path]] | None = None
        self._listed: dict[str, dict[str, list[Path]]] = {}
        self._renamed: list[tuple[str, str]] = []

    def find(self, study: str, image: str) -> Path | None:
        """The file of an image, or None; the very name that the table gives goes first."""
        names = [f"{image}{suffix}" for suffix in SUFFIXES]
        for name in names:
            if (path := self._folder / study / name).is_file():
                return path
        alike = [path for name in names for path in self._alike(study, name)]
        if len(alike) > 1:
            self._problems.append(
                f"{self._folder}: expected {study}/{names[0]}, found {_named(alike)}, which differ "
                "from it in upper and lower case or suffix only; keep one"
            )
        if len(alike) != 1:
            return None
        self._renamed.append((f"{study}/{names[0]}", _named(alike)))
        return alike[0]

    def _alike(self, study: str, name: str) -> list[Path]:
        key = study.lower()
        if key not in self._listed:
            if self._studies is None:
                self._studies = by_lower_case(self._folder.iterdir())
            folders = (path for path in self._studies.get(key, []) if path.is_dir())
            self._listed[key] = by_lower_case(p for path in folders for p in path.iterdir())
        return self._listed[key].get(name.lower(), [])

    def warnings(self) -> list[str]:
        """Tells of images that were found under another name."""
        if not self._renamed:
            return []
        wanted, found = self._renamed[0]
        return [
            f"{len(self._renamed):,} images differ from the table in upper and lower case only, "
            f"the first {found} for {wanted}: taken as meant"
        ]


def _named(paths: Iterable[Path]) -> str:
    return " and ".join(f"{path.parent.name}/{path.name}" for path in paths)
