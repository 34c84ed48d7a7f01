"""One sound file, and how the project reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """A file to be spoiled.

    Attributes:
        file: the one whose bytes are changed; others beside it may stay as they are.
        read: reads it, as far as a build would; raises the project's own errors only.
        text: whether its format is text.
    """

    file: Path
    read: Callable[[], object]
    text: bool = False
