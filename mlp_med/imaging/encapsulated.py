"""The pixel data element of a DICOM file before it is decoded: is it whole, and what it says?

Formats as in DICOM PS3.5, annexes A.4 (fragments), G (RLE) and 8.2 (JPEG, JPEG 2000).
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mlp_med.errors import ImageError
from mlp_med.imaging.claims import require_plausible_size

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
TRANSFER_SYNTAXES = {
    IMPLICIT: "implicit little endian",
    EXPLICIT: "explicit little endian",
    **dict.fromkeys(JPEG_LOSSLESS[:1], "JPEG Lossless"),
    **dict.fromkeys(JPEG_LOSSLESS[1:], "JPEG Lossless SV1"),
    **dict.fromkeys(JPEG_2000[:1], "JPEG 2000 Lossless"),
    **dict.fromkeys(JPEG_2000[1:], "JPEG 2000"),
    RLE: "RLE",
}
PIXEL_DATA = b"\xe0\x7f\x10\x00"
ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
UNDEFINED = 0xFFFFFFFF
LONG_VRS = (b"OB", b"OW", b"UN")
START_OF_IMAGE, END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"
LOSSLESS_FRAME = 0xC3  # SOF3: lossless, Huffman
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
CODESTREAM = b"\xff\x4f\xff\x51"  # JPEG 2000: start, then the image's size
HEAD_BYTES = 65_536  # of the first fragment: markers with comments may precede the frame


@dataclass(frozen=True)
class Stored:
    """What a file says of its pixel data.

    Attributes:
        syntax: UID of a transfer syntax out of `TRANSFER_SYNTAXES`.
        size: (columns, rows).
        bits_allocated: 8 or 16.
    """

    syntax: str
    size: tuple[int, int]
    bits_allocated: int

    @property
    def num_bytes(self) -> int:
        """Of the pixels, uncompressed."""
        return self.size[0] * self.size[1] * self.bits_allocated // 8


def check_pixel_data(path: Path, file: BinaryIO, stored: Stored) -> int | None:
    """Checks the element at which `file` stands, which should be the pixel data.

    Returns:
        The bits of a pixel that a JPEG 2000 image is made for; None for the others.

    Raises:
        ImageError: there is none, it is cut short, or it is not what the transfer syntax says.
    """
    require_plausible_size(path, stored.num_bytes, os.fstat(file.fileno()).st_size)
    length = _enter(path, file, stored)
    if stored.syntax in (IMPLICIT, EXPLICIT):
        if length == UNDEFINED:
            _refuse_lie(path, stored, "pixel data in fragments, as compressed ones are")
        available = min(length, _bytes_left(file))
        if available < stored.num_bytes:
            _refuse_cut(path, f"{stored.num_bytes:,} bytes of pixels", f"{available:,}")
        return None
    if length != UNDEFINED:
        _refuse_lie(path, stored, f"{length:,} bytes of pixels that are not in fragments")
    first, last = _fragments(path, file)
    if stored.syntax == RLE:
        _check_rle(path, stored, first)
        return None
    bits = None
    if stored.syntax in JPEG_LOSSLESS:
        size = _jpeg_size(path, stored, first)
    else:
        size, bits = _jpeg_2000_size(path, stored, first)
    if size != stored.size:
        raise ImageError(
            f"{path}: expected {stored.size[0]}×{stored.size[1]} pixels as its header says, found "
            f"{size[0]}×{size[1]} in its compressed image"
        )
    if END_OF_IMAGE not in last[-3:]:  # one byte of padding may follow
        _refuse_cut(path, "the end of its compressed image", "none")
    return bits


def _enter(path: Path, file: BinaryIO, stored: Stored) -> int:
    """Steps over tag, VR and length of the element; its length.

    Whether elements have a VR shows here: as the length of an implicit element it would be odd.
    """
    head = file.read(8)
    if len(head) < 8 or head[:4] != PIXEL_DATA:
        raise ImageError(f"{path}: has no pixel data; copy the file again, or leave it out")
    explicit = head[4:6] in LONG_VRS and head[6:8] == b"\0\0"
    if explicit == (stored.syntax == IMPLICIT):
        _refuse_lie(path, stored, f"elements {'with' if explicit else 'without'} a VR")
    length = _exactly(path, file, 4) if explicit else head[4:]
    return struct.unpack("<I", length)[0]


def _fragments(path: Path, file: BinaryIO) -> tuple[bytes, bytes]:
    """The first bytes of the first fragment and the last bytes of the last one."""
    first, last = b"", b""
    table_passed = False
    while True:
        head = _exactly(path, file, 8)
        tag, length = head[:4], struct.unpack("<I", head[4:])[0]
        if tag == DELIMITER:
            break
        if tag != ITEM:
            raise ImageError(f"{path}: expected a fragment of pixel data, found {tag.hex()}")
        if length > _bytes_left(file):
            _refuse_cut(path, f"{length:,} bytes of a fragment", f"{_bytes_left(file):,}")
        if not table_passed:  # where each frame begins, or nothing
            table_passed = True
            file.seek(length, os.SEEK_CUR)
            continue
        start = file.tell()
        if not first:
            first = file.read(min(length, HEAD_BYTES))
        file.seek(start + max(length - 4, 0))
        last = file.read(min(length, 4))
    if not first:
        raise ImageError(f"{path}: has no pixel data (no fragment); copy the file again")
    return first, last


def _check_rle(path: Path, stored: Stored, first: bytes) -> None:
    """64 bytes: the number of segments, one a byte of a pixel, and where each begins."""
    wanted = stored.bits_allocated // 8
    found = struct.unpack("<2I", first[:8]) if len(first) >= 64 else (0, 0)
    if found != (wanted, 64):
        _refuse_lie(path, stored, f"no RLE header of {wanted} segments")


def _jpeg_size(path: Path, stored: Stored, first: bytes) -> tuple[int, int]:
    """(columns, rows) in the frame header of a JPEG image that is lossless."""
    if first[:2] != START_OF_IMAGE:
        _refuse_lie(path, stored, f"data that begin with {first[:4].hex()}, not a JPEG image")
    at = 2
    while at + 9 <= len(first) and first[at] == 0xFF:
        marker = first[at + 1]
        if marker in FRAMES:
            if marker != LOSSLESS_FRAME:
                _refuse_lie(path, stored, f"a JPEG frame of type {marker - 0xC0}, not lossless")
            rows, columns = struct.unpack(">2H", first[at + 5 : at + 9])
            return columns, rows
        at += 2 + struct.unpack(">H", first[at + 2 : at + 4])[0]
    raise ImageError(f"{path}: expected a JPEG frame header, found none; copy the file again")


def _jpeg_2000_size(path: Path, stored: Stored, first: bytes) -> tuple[tuple[int, int], int]:
    """(columns, rows) and bits of a JPEG 2000 codestream, which a JP2 file header may precede."""
    at = first.find(CODESTREAM)
    if at < 0 or len(first) < at + 43:
        _refuse_lie(path, stored, f"data that begin with {first[:4].hex()}, not JPEG 2000")
    right, bottom, left, top = struct.unpack(">4I", first[at + 8 : at + 24])
    return (right - left, bottom - top), (first[at + 42] & 0x7F) + 1


def _refuse_lie(path: Path, stored: Stored, found: str) -> None:
    raise ImageError(
        f"{path}: says that its transfer syntax is {TRANSFER_SYNTAXES[stored.syntax]}, and holds "
        f"{found}; export the file again"
    )


def _refuse_cut(path: Path, expected: str, found: str) -> None:
    raise ImageError(
        f"{path}: is cut short: expected {expected}, found {found}; copy the file again"
    )


def _exactly(path: Path, file: BinaryIO, num_bytes: int) -> bytes:
    data = file.read(num_bytes)
    if len(data) < num_bytes:
        _refuse_cut(path, "more of its pixel data", "the end of the file")
    return data


def _bytes_left(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size - file.tell()
