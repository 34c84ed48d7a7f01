"""Names on disk that differ from those of a table in upper and lower case only."""

from collections.abc import Iterable
from pathlib import Path


def by_lower_case(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Paths by their last part in lower case, in order; several where only the case differs."""
    listed: dict[str, list[Path]] = {}
    for path in sorted(paths):
        listed.setdefault(path.name.lower(), []).append(path)
    return listed
