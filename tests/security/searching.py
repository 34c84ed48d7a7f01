"""Looks for bytes in files, in what they have compressed too."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def files_with(place: Path, wanted: Sequence[bytes]) -> list[Path]:
    """The files in a folder, or the file, that hold any of the byte strings; names count too."""
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    return [
        path
        for path in files
        if any(text in content for content in _contents(path) for text in wanted)
    ]


def _contents(path: Path) -> Iterator[bytes]:
    yield str(path).encode()
    content = path.read_bytes()
    yield content
    if path.suffix == ".parquet":
        yield repr(pq.read_table(pa.BufferReader(content)).to_pydict()).encode()
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(path) as archive:
            yield from map(archive.read, archive.namelist())
    if content[:8] == b"\x89PNG\r\n\x1a\n":  # its texts may be compressed
        for start in (at for at in range(len(content)) if content[at : at + 4] == b"zTXt"):
            try:
                yield zlib.decompress(content[start + 4 :].partition(b"\0")[2][1:])
            except zlib.error:
                continue
