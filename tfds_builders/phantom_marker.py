"""PHANTOM.json in a source's root: its files were drawn by a program."""

import json
from pathlib import Path

MARKER = "PHANTOM.json"


def is_phantom(root: Path) -> bool:
    """Whether the files of a source are synthetic."""
    return (root / MARKER).is_file()


def unfinished_phantom(root: Path) -> list[str]:
    """The problem with a phantom whose writing was interrupted; empty for any other source."""
    if not is_phantom(root):
        return []
    try:
        complete = json.loads((root / MARKER).read_text()).get("complete", True)
    except (OSError, ValueError, AttributeError):
        return [f"{root / MARKER}: is no readable JSON object; write the phantom again"]
    if complete:
        return []
    return [
        f"{root / MARKER}: the phantom is not finished (complete: false); write it again with the "
        "same arguments, which goes on where it stopped"
    ]
