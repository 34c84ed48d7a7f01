"""What fuzzing has found: headers on which a library ended the process or took memory for nothing.

Without the check that each of them meets, this file's process dies or outgrows its limit.
"""

import resource
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from mlp_med.errors import ImageError
from mlp_med.imaging.dicom_slice import read_slice_header
from mlp_med.imaging.formats import read_image, read_image_header
from mlp_med.imaging.radiograph import read_radiograph_header
from mlp_med.imaging.slide import read_header as read_slide_header
from mlp_med.imaging.volume import read_volume
from mlp_med.phantoms.slide_file import write_slide
from tests.fuzzing.dicom import write_one

HEADROOM = 400 << 20


@pytest.fixture(autouse=True)
def limited_memory() -> Iterator[None]:
    """No more address space than the process has, and 400 MB: a claim of gigabytes fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + HEADROOM, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def metaimage(path: Path, data: bytes = bytes(48), **fields: object) -> Path:
    head: dict[str, object] = {
        **{"NDims": 3, "DimSize": "2 3 4", "ElementSpacing": "1 1 1"},
        **{"ElementType": "MET_SHORT", **fields, "ElementDataFile": "LOCAL"},
    }
    path.write_bytes("".join(f"{k} = {v}\n" for k, v in head.items()).encode() + data)
    return path


def read_any(path: Path) -> object:
    return read_image(read_image_header(path))


def test_the_sound_one_is_read(tmp_path):
    assert read_any(metaimage(tmp_path / "a.mha")).voxels.shape == (4, 3, 2)


@pytest.mark.parametrize("dims", [4294967296, -1, 0, 1_000_000_000])
def test_numbers_of_dimensions_that_no_image_has(dims, tmp_path):
    with pytest.raises(ImageError, match="expected an image of 2 or 3 dimensions"):
        read_any(metaimage(tmp_path / "a.mha", NDims=dims))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"DimSize": "100000 100000 100"}, "claims 2,000,000,000,000 bytes of pixels"),
        ({"DimSize": "2 3 5"}, "truncated: expected .* found"),
        ({"TransformMatrix": "1 0 0"}, "expected nine finite numbers"),
        ({"Offset": "nan 0 0"}, "expected three finite numbers"),
        ({"HeaderSize": "x"}, "expected a number of bytes, found HeaderSize"),
        ({"Comment": "a" * 1000}, "expected lines of text in its header"),
        ({"Comment": "\x07"}, "expected lines of text in its header"),
    ],
)
def test_claims_of_a_metaimage_header(fields, message, tmp_path):
    with pytest.raises(ImageError, match=message):
        read_volume(metaimage(tmp_path / "a.mha", **fields))


def bomb() -> bytes:
    """600 MB in 600 kB."""
    deflater, block = zlib.compressobj(1), bytes(1 << 20)
    return b"".join(deflater.compress(block) for _ in range(600)) + deflater.flush()


@pytest.mark.parametrize(
    ("data", "size", "message"),
    [
        (zlib.compress(bytes(48)), 10**18, "truncated: .* CompressedDataSize"),
        (zlib.compress(bytes(48))[:-3], None, "before the stream breaks off"),
        (zlib.compress(bytes(47)), None, "expected 48 bytes of voxels"),
        (None, None, "expected 48 bytes of voxels"),
        (b"no stream", None, "the compressed voxels are damaged"),
    ],
)
def test_compressed_voxels_within_the_header_file(data, size, message, tmp_path):
    """SimpleITK gives garbage for the second and third, without a word; the fourth is a bomb."""
    data = bomb() if data is None else data
    size = len(data) if size is None else size
    path = metaimage(tmp_path / "a.mha", data, CompressedData=True, CompressedDataSize=size)
    with pytest.raises(ImageError, match=message):
        read_volume(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"content: " + b"a" * 5000, "plain text of at most 500 characters"),
        (b"content: \x18\x06\xe0\xf7" * 20, "plain text of at most"),
        (b"space directi (1,0,0)", "expected 'field: value'"),
    ],
)
def test_lines_of_an_nrrd_header(line, message, tmp_path):
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4), np.int16)), str(path))
    assert read_any(path).voxels.shape == (2, 3, 4)
    path.write_bytes(path.read_bytes().replace(b"kinds:", line + b"\nkinds:", 1))
    with pytest.raises(ImageError, match=message):
        read_any(path)


def test_where_the_voxels_of_a_nifti_file_begin(tmp_path):
    path = tmp_path / "a.nii"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4), np.int16)), str(path))
    header = read_image_header(path)
    content = bytearray(path.read_bytes())
    content[108:112] = struct.pack("<f", float("nan"))
    path.write_bytes(content)
    with pytest.raises(ImageError, match="where the voxels begin"):
        read_image(header)


@pytest.mark.parametrize("read", [read_radiograph_header, read_slice_header])
def test_an_element_longer_than_its_file(read, tmp_path):
    path = write_one(tmp_path / "a.dcm", "explicit")
    content = path.read_bytes()
    modality = content.index(b"\x08\x00\x60\x00CS")
    element = b"\x08\x00\x60\x00UN\0\0" + struct.pack("<I", 0xF0000000)
    path.write_bytes(content[:modality] + element + content[modality + 8 :])
    with pytest.raises(ImageError, match=r"a\.dcm: "):
        read(path)


@pytest.mark.parametrize("read", [read_radiograph_header, read_slice_header])
def test_a_number_of_half_its_bytes(read, tmp_path):
    path = write_one(tmp_path / "a.dcm", "explicit")
    data = pydicom.dcmread(path)
    content = path.read_bytes()
    rows = content.index(b"\x28\x00\x10\x00US")
    assert data.Rows == 12
    path.write_bytes(content[:rows] + b"\x28\x00\x10\x00US\x01\0\x0c" + content[rows + 10 :])
    with pytest.raises(ImageError, match=r"a\.dcm: "):
        read(path)


def tag(content: bytearray, code: int) -> int:
    """Where the first BigTIFF entry of a tag begins: code, type, count (8), value (8)."""
    return content.index(struct.pack("<H", code), 16)


@pytest.mark.parametrize(
    ("code", "type_", "value", "message"),
    [
        (322, "<I", 1 << 20, "states tiles of 1048576×512|tiles or strips"),
        (256, "<I", 1 << 30, "claims|tiles or strips"),
        (325, "<Q", 1 << 33, "pixels lie beyond its end|lies beyond"),
        (324, "<Q", 1 << 40, "beyond its end"),
    ],
)
def test_tiles_of_a_slide_that_its_file_cannot_hold(code, type_, value, message, tmp_path):
    path = tmp_path / "slide.tif"
    y, x = np.indices((420, 500)) / 500
    write_slide(path, np.stack([250 * x, 250 * y, 200 * x * y], -1).astype(np.uint8), 0.243)
    assert read_slide_header(path).size == (500, 420)
    content = bytearray(path.read_bytes())
    at = tag(content, code)
    kind = {"<I": 4, "<Q": 16}[type_]
    struct.pack_into("<HHQ", content, at, code, kind, 1)
    content[at + 12 : at + 20] = struct.pack(type_, value).ljust(8, b"\0")
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message):
        read_slide_header(path)
