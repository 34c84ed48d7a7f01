"""A check that SimpleITK leaves out: a NIfTI file that is cut short is read as if it were whole.

Format: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

from mlp_med.errors import ImageError

HEADER_BYTES = 348
CHUNK = 1 << 20


def check_nifti_data(path: Path) -> None:
    """Counts the bytes of a .nii or .nii.gz, and checks the checksum of the latter.

    Raises:
        ImageError: fewer bytes than its header says, or a damaged stream.
    """
    if path.suffix.lower() in (".hdr", ".img"):
        return
    try:
        with _opened(path) as file:
            head = file.read(HEADER_BYTES)
            expected = _expected_bytes(path, head)
            found = len(head)
            while chunk := file.read(CHUNK):
                found += len(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise ImageError(f"{path}: is damaged or cut short ({error}); copy it again") from error
    if expected is not None and found < expected:
        raise ImageError(
            f"{path}: truncated: expected {expected} bytes from its header, found {found}; "
            "copy it again"
        )


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else path.open("rb")  # type: ignore[return-value]


def _expected_bytes(path: Path, head: bytes) -> int | None:
    """Bytes of a NIfTI-1 file by its header; None for any other version."""
    for order in "<>":
        if len(head) == HEADER_BYTES and struct.unpack(f"{order}i", head[:4])[0] == HEADER_BYTES:
            dims = struct.unpack(f"{order}8h", head[40:56])
            bits = struct.unpack(f"{order}h", head[72:74])[0]
            offset = struct.unpack(f"{order}f", head[108:112])[0]
            if not math.isfinite(offset) or not 0 <= dims[0] <= 7 or min(dims[1:]) < 0:
                raise ImageError(
                    f"{path}: expected up to seven positive dimensions and where the voxels begin, "
                    f"found {dims} and {offset}; copy it again"
                )
            return int(offset) + math.prod(dims[1 : 1 + dims[0]]) * bits // 8
    return None
