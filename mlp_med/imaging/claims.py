"""What a header claims, held against the size of its file before memory is taken for it."""

import io
import os
from pathlib import Path

from mlp_med.errors import ImageError

# So much is taken without a question: few bytes may well be a large empty image.
ALWAYS_FINE_BYTES = 64 << 20
# Deflate makes at most 1,032 bytes of one; JPEG of empty glass, some 200.
MOST_BYTES_OF_ONE = 1_100
LONGEST_NAME = 255  # of a file, in bytes


def require_plausible_size(path: Path, claimed_bytes: int, file_bytes: int) -> None:
    """Refuses an image that its file could not hold, whatever the compression.

    Args:
        path: for the message.
        claimed_bytes: of the decoded pixels, by the header.
        file_bytes: of the file or files.

    Raises:
        ImageError: over 64 MiB, and over 1,100 times the file's size.
    """
    if claimed_bytes > max(ALWAYS_FINE_BYTES, MOST_BYTES_OF_ONE * file_bytes):
        raise ImageError(
            f"{path}: its header claims {claimed_bytes:,} bytes of pixels, which a file of "
            f"{file_bytes:,} bytes cannot hold; copy the file again"
        )


def require_beside(path: Path, name: str) -> Path:
    """The file that a header names as its data: in the header's own folder or below it.

    Raises:
        ImageError: the name leads anywhere else, as an absolute path or one with .. would.
    """
    parts = Path(name).parts
    is_sound = bool(parts) and ".." not in parts and "\0" not in name
    too_long = any(len(os.fsencode(part)) > LONGEST_NAME for part in parts)
    if not is_sound or too_long or Path(name).is_absolute():
        raise ImageError(
            f"{path}: expected its data file beside the header or below, found {name[:80]!r}; copy "
            "the file there, and write its name alone"
        )
    return path.parent / name


class BoundedFile(io.BufferedReader):
    """A file that is never asked for more than it has: a read of n bytes allocates n beforehand."""

    def __init__(self, path: Path):
        super().__init__(io.FileIO(path))
        self._num_bytes = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        left = max(self._num_bytes - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))
