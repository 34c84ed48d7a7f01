"""Checks of a MetaImage header that SimpleITK leaves out.

SimpleITK reads a scan whose spacing is absent (as 1 mm), or whose compressed data are damaged or
fewer than the header says, without a word. A nodule would then be measured in the wrong units, so
the header is parsed here as well and refused with a reason.

Format: https://itk.org/Wiki/MetaIO/Documentation
"""

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

from mlp_med.errors import ImageError
from mlp_med.imaging.claims import require_beside, require_plausible_size

HEADER_BYTES = 65_536  # enough for any header; a .mha holds its voxels behind it
LONGEST_LINE = 1_000
DIMENSIONS = ("2", "3")
MATRICES = ("TransformMatrix", "Rotation", "Orientation")
# Numbers of these, which SimpleITK takes as many of as NDims says, whether they are there or not.
NUMBER_WORDS = {2: "two", 3: "three", 4: "four", 9: "nine"}
VECTORS = ("Offset", "Position", "Origin", "CenterOfRotation", "ElementSize", "DimSize")
CHUNK = 1 << 20
END_OF_HEADER = ""  # no field is called so
BYTES_PER_VOXEL = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}


@dataclass(frozen=True)
class MetaHeader:
    """What the checks need of a header: size and spacing as (x, y, z), and where the voxels lie.

    `data_offset` is where in their file, which is the header's own in a .mha.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    data_path: Path
    data_offset: int
    num_bytes: int
    compressed: bool


def parse_metaimage(path: Path) -> MetaHeader:
    """Parses and checks the header of `path` (.mhd or .mha), and that its voxels are there.

    Raises:
        ImageError: the file is missing or no 3D scalar MetaImage, its spacing is not positive, or
            its data file is missing or of a size that `DimSize` does not explain.
    """
    fields = _read_fields(path)
    num_dims = _field(path, fields, "NDims")
    if num_dims != "3":
        raise ImageError(
            f"{path}: expected a 3D scan, found NDims = {num_dims}; export one 3D volume"
        )
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise ImageError(
            f"{path}: expected one value a voxel, found ElementNumberOfChannels = "
            f"{fields['ElementNumberOfChannels']}; export one scalar volume"
        )
    _check_numbers(path, fields, 3)
    size = _numbers(path, fields, "DimSize")
    if any(number < 1 or number != int(number) for number in size):
        raise ImageError(
            f"{path}: expected three positive whole numbers, found DimSize = {fields['DimSize']}"
        )
    spacing = _numbers(path, fields, "ElementSpacing")
    if min(spacing) <= 0:
        raise ImageError(
            f"{path}: expected three positive spacings in mm, found ElementSpacing = "
            f"{fields['ElementSpacing']}; correct the header from the original series"
        )
    element_type = _field(path, fields, "ElementType")
    if element_type not in BYTES_PER_VOXEL:
        raise ImageError(
            f"{path}: expected an ElementType of {', '.join(BYTES_PER_VOXEL)}, found {element_type}"
        )
    if not _is_true(fields.get("BinaryData", "True")):
        raise ImageError(
            f"{path}: expected binary voxels, found BinaryData = False; write it as binary"
        )
    data_path = _data_path(path, fields)
    header = MetaHeader(
        size=(int(size[0]), int(size[1]), int(size[2])),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        data_path=data_path,
        data_offset=int(fields[END_OF_HEADER]) if data_path == path else 0,
        num_bytes=math.prod(int(number) for number in size) * BYTES_PER_VOXEL[element_type],
        compressed=_is_true(fields.get("CompressedData", "False")),
    )
    _check_data_size(path, header, fields)
    return header


def check_compressed_data(path: Path, header: MetaHeader) -> None:
    """Inflates compressed voxels and checks its length and checksum, which SimpleITK does not.

    Raises:
        ImageError: the stream is damaged, ends early, or holds another number of bytes.
    """
    if not header.compressed:
        return
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # zlib or gzip, as ITK accepts both
    found = 0
    try:
        with header.data_path.open("rb") as file:
            file.seek(header.data_offset)
            while not inflater.eof and (chunk := inflater.unconsumed_tail or file.read(CHUNK)):
                found += len(inflater.decompress(chunk, CHUNK))
                if found > header.num_bytes:
                    break  # whatever else is in it
    except zlib.error as error:
        raise ImageError(
            f"{header.data_path}: the compressed voxels are damaged ({error}); copy the file again"
        ) from error
    if found <= header.num_bytes:
        found += len(inflater.flush())
    if found != header.num_bytes or not inflater.eof:
        raise ImageError(
            f"{header.data_path}: expected {header.num_bytes} bytes of voxels from DimSize "
            f"{_as_text(header.size)} in {path.name}, found {found}"
            f"{'' if inflater.eof else ' before the stream breaks off'}; copy the file again"
        )


def check_metaimage_header(path: Path) -> None:
    """Checks that a header, in 2D or 3D, is one that SimpleITK can be given.

    SimpleITK takes memory for as many numbers as NDims says, and ends the process where that is
    absurd; so nothing is left to it that is not of the form that the format knows.

    Raises:
        ImageError: the file is missing; no header, or not of 2 or 3 dimensions; a line that is no
            text; a vector or matrix that is not of as many finite numbers.
    """
    fields = _read_fields(path)
    found = _field(path, fields, "NDims")
    if found not in DIMENSIONS:
        raise ImageError(
            f"{path}: expected an image of 2 or 3 dimensions, found NDims = {found[:40]}; export "
            "one volume"
        )
    _check_numbers(path, fields, int(found))
    _data_path(path, fields)


def _check_numbers(path: Path, fields: dict[str, str], num_dims: int) -> None:
    lengths = dict.fromkeys(VECTORS, num_dims) | dict.fromkeys(MATRICES, num_dims**2)
    for name, length in lengths.items():
        if name in fields:
            _numbers(path, fields, name, length)


def _read_fields(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            text = file.read(HEADER_BYTES).decode("latin-1")
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be read ({error.strerror}); expected a MetaImage header"
        ) from error
    fields: dict[str, str] = {}
    offset = 0
    for raw in text.split("\n"):
        offset += len(raw) + 1
        line = raw.removesuffix("\r")
        name, equals, value = line.partition("=")
        if len(line) > LONGEST_LINE or not line.replace("\t", " ").isprintable():
            raise ImageError(
                f"{path}: expected lines of text in its header, at most {LONGEST_LINE} characters, "
                f"found {line[:40]!r}; copy the scan again"
            )
        if not equals:
            continue
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":  # the last field; voxels may follow
            fields[END_OF_HEADER] = str(offset)
            break
    return fields


def _field(path: Path, fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise ImageError(
            f"{path}: {name} is absent from the MetaImage header; copy or export the scan again"
        )
    return fields[name]


def _numbers(path: Path, fields: dict[str, str], name: str, length: int = 3) -> list[float]:
    value = _field(path, fields, name)
    try:
        numbers = [float(word) for word in value.split()]
    except ValueError:
        numbers = []
    if len(numbers) != length or not all(map(math.isfinite, numbers)):
        raise ImageError(
            f"{path}: expected {NUMBER_WORDS[length]} finite numbers, found {name} = {value[:80]}"
        )
    return numbers


def _is_true(value: str) -> bool:
    return value[:1] in ("T", "t", "1")


def _as_text(size: tuple[int, int, int]) -> str:
    return "×".join(map(str, size))


def _data_path(path: Path, fields: dict[str, str]) -> Path:
    name = _field(path, fields, "ElementDataFile")
    if name.upper() == "LOCAL":
        return path
    if name.upper().startswith("LIST") or "%" in name:
        raise ImageError(
            f"{path}: expected one data file, found ElementDataFile = {name}; write it as one file"
        )
    return require_beside(path, name)


def _check_data_size(path: Path, header: MetaHeader, fields: dict[str, str]) -> None:
    data_path = header.data_path
    if not data_path.is_file():
        raise ImageError(
            f"{path}: its voxels {data_path.name} are missing; copy them beside the header"
        )
    found = data_path.stat().st_size
    require_plausible_size(data_path, header.num_bytes, found)
    if header.compressed:  # inflated when read
        if _num_bytes(path, fields, "CompressedDataSize") > found:
            raise ImageError(
                f"{data_path}: truncated: {path.name} says CompressedDataSize = "
                f"{fields['CompressedDataSize']}, found {found} bytes; copy the scan again"
            )
        return
    expected = header.num_bytes + max(_num_bytes(path, fields, "HeaderSize"), 0)
    expected += header.data_offset
    may_be_longer = data_path == path or fields.get("HeaderSize") == "-1"
    if found < expected if may_be_longer else found != expected:
        state = "truncated" if found < expected else "too long"
        raise ImageError(
            f"{data_path}: {state}: expected {expected} bytes from DimSize {_as_text(header.size)} "
            f"{fields['ElementType']} in {path.name}, found {found}; copy the scan again"
        )


def _num_bytes(path: Path, fields: dict[str, str], name: str) -> int:
    value = fields.get(name, "0")
    if not (value.isascii() and value.removeprefix("-").isdigit()) or int(value) < -1:
        raise ImageError(f"{path}: expected a number of bytes, found {name} = {value[:40]}")
    return int(value)
