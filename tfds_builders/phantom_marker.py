"""PHANTOM.json in a source's root: its files were drawn by a program."""

from pathlib import Path

from mlp_med.errors import SourceError
from mlp_med.json_records import read_json_object

MARKER = "PHANTOM.json"


def is_phantom(root: Path) -> bool:
    """Whether the files of a source are synthetic."""
    return (root / MARKER).is_file()


def unfinished_phantom(root: Path) -> list[str]:
    """The problem with a phantom whose writing was interrupted; empty for any other source."""
    if not is_phantom(root):
        return []
    try:
        marker = read_json_object(root / MARKER, SourceError, "write the phantom again")
    except SourceError as error:
        return [str(error)]
    if marker.get("complete", True):
        return []
    return [
        f"{root / MARKER}: the phantom is not finished (complete: false); write it again with the "
        "same arguments, which goes on where it stopped"
    ]
