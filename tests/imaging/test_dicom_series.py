"""A DICOM series: in order, in its place, in its units, and refused where it contradicts itself."""

import locale
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from mlp_med.errors import ImageError
from mlp_med.imaging.dicom_series import read_series, read_series_header
from mlp_med.imaging.formats import read_image, read_image_header
from mlp_med.imaging.volume import continuous_index
from tests.imaging.dicom_files import (
    SPACING_MM,
    make_series,
    make_slice,
    random_voxels,
    save_series,
)


def test_slices_are_sorted_by_position_and_rescaled(tmp_path: Path):
    stored = random_voxels()
    folder = save_series(tmp_path, make_series(stored, slope=2, intercept=-1000))
    header = read_series_header(folder)
    assert header.size == (16, 20, 5)
    assert header.spacing_mm == SPACING_MM
    assert header.origin_mm == (-20, -30, -40)
    assert (header.uid, header.modality, header.dtype) == ("2.25.1", "CT", "float32")
    volume = read_series(header)
    assert np.array_equal(volume.voxels, stored * 2.0 - 1000)


def test_positions_in_tenths_of_a_millimetre_are_no_gap(tmp_path: Path):
    slices = make_series(random_voxels(depth=17))
    for number, dataset in enumerate(slices):
        dataset.ImagePositionPatient = [-20, -30, round(-40 + 0.625 * number, 1)]
    header = read_series_header(save_series(tmp_path / "whole", slices))
    assert header.spacing_mm[2] == pytest.approx(0.625, abs=1e-3)
    with pytest.raises(ImageError, match="a slice is missing"):
        read_series_header(save_series(tmp_path / "gap", slices[:8] + slices[9:]))


def test_each_slice_has_its_own_rescale(tmp_path: Path):
    stored = random_voxels()
    slices = make_series(stored)
    slices[2].RescaleIntercept = -24
    slices[3].RescaleSlope = 0.5
    volume = read_series(read_series_header(save_series(tmp_path, slices)))
    expected = stored - 1024.0
    expected[2] += 1000
    expected[3] = stored[3] * 0.5 - 1024
    assert np.allclose(volume.voxels, expected)


@pytest.mark.parametrize("kind", ["uint16", "int16"])
@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless]
)
def test_transfer_syntaxes_and_signs_give_the_same_values(tmp_path: Path, syntax: str, kind: str):
    stored = random_voxels().astype(kind)
    if kind == "int16":
        stored -= 1000
    slices = make_series(stored, intercept=0 if kind == "int16" else -1024)
    for number, (dataset, plane) in enumerate(zip(slices, stored, strict=True)):
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = plane.astype(plane.dtype.newbyteorder(">")).tobytes()
        if syntax == RLELossless:
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.compress(RLELossless)
        plain = Dataset(dataset)  # has no encoding of its own yet
        plain.file_meta = dataset.file_meta
        plain.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    header = read_series_header(tmp_path)
    assert header.dtype == "int16"
    expected = stored.astype(int) - (0 if kind == "int16" else 1024)
    assert np.array_equal(read_series(header).voxels, expected)


@pytest.fixture
def _same_locale():
    """GDCM's writer leaves the process's locale at "C", in which Python reads files as ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.usefixtures("_same_locale")
def test_jpeg_lossless_and_jpeg_2000_are_read(tmp_path: Path):
    """Written by GDCM; pydicom alone cannot compress so."""
    stored = random_voxels()
    slices = make_series(stored)
    for dataset in slices:
        dataset.BitsStored, dataset.HighBit = 12, 11
    plain = save_series(tmp_path / "plain", slices)
    for name in ("JPEG", "JPEG2000"):
        folder = tmp_path / name
        folder.mkdir()
        for path in plain.iterdir():
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(path))
            image = reader.Execute()
            writer = sitk.ImageFileWriter()
            writer.SetImageIO("GDCMImageIO")
            writer.SetFileName(str(folder / path.name))
            writer.KeepOriginalImageUIDOn()
            writer.UseCompressionOn()
            writer.SetCompressor(name)
            writer.Execute(image)
        header = read_series_header(folder)
        assert np.array_equal(read_series(header).voxels, stored.astype(int) - 1024)


def test_flipped_and_upright_slices_are_the_same_place(tmp_path: Path):
    """A slice whose rows run to the patient's right and whose columns run forwards."""
    stored = random_voxels()
    upright = read_series(read_series_header(save_series(tmp_path / "a", make_series(stored))))
    columns, rows = stored.shape[2] - 1, stored.shape[1] - 1
    corner = (-20 + columns * SPACING_MM[0], -30 + rows * SPACING_MM[1])
    slices = [
        make_slice(
            np.ascontiguousarray(plane[::-1, ::-1]),
            position_mm=(*corner, -40 + SPACING_MM[2] * number),
            axes=(-1, 0, 0, 0, -1, 0),
            uid=f"2.25.3{number}",
        )
        for number, plane in enumerate(stored)
    ]
    flipped = read_series(read_series_header(save_series(tmp_path / "b", slices)))
    point = np.array([-18.5, -29, -36])
    values = []
    for volume in (upright, flipped):
        x, y, z = np.round(continuous_index(volume, point)).astype(int)
        values.append(volume.voxels[z, y, x])
    assert values[0] == values[1] == stored[2, 2, 2] - 1024.0


def test_sagittal_slices_lie_where_they_say(tmp_path: Path):
    """Rows along the patient's back, columns towards the feet: as most workstations export them."""
    stored = random_voxels()
    slices = [
        make_slice(plane, position_mm=(10 - 2 * n, -30, 40), axes=(0, 1, 0, 0, 0, -1), uid=f"2.{n}")
        for n, plane in enumerate(stored)
    ]
    volume = read_series(read_series_header(save_series(tmp_path, slices)))
    column, row, number = 4, 3, 1
    point = (10 - 2 * number, -30 + column * SPACING_MM[0], 40 - row * SPACING_MM[1])
    x, y, z = np.round(continuous_index(volume, point)).astype(int)
    assert volume.voxels[z, y, x] == stored[number, row, column] - 1024.0


@pytest.mark.parametrize("value", [63536, 0])
def test_padding_becomes_what_is_asked_for(tmp_path: Path, value: int):
    stored = random_voxels().astype(np.int16) + 1
    stored[:, 0, :] = np.uint16(value).astype(np.int16)
    slices = make_series(stored, intercept=0)
    for dataset in slices:
        dataset.add_new(
            "PixelPaddingValue", "US", value
        )  # as unsigned, although the pixels are not
    header = read_series_header(save_series(tmp_path, slices))
    assert (read_series(header, padding_as=-1000).voxels[:, 0] == -1000).all()
    assert np.array_equal(read_series(header, padding_as=-1000).voxels[:, 1:], stored[:, 1:])
    assert np.array_equal(read_series(header).voxels, stored)


def test_images_of_any_format_use_the_same_reader(tmp_path: Path):
    stored = random_voxels()
    folder = save_series(tmp_path, make_series(stored))
    (folder / "notes.txt").write_text("not a slice")
    header = read_image_header(folder)
    assert (header.size, header.dtype, header.spatial_dims) == ((16, 20, 5), "float32", 3)
    assert np.array_equal(read_image(header).voxels, stored - 1024.0)


Slices = list[FileDataset]


def drop(slices: Slices) -> None:
    del slices[2]


def repeat_place(slices: Slices) -> None:
    slices[2].ImagePositionPatient = slices[1].ImagePositionPatient


def repeat_slice(slices: Slices) -> None:
    slices.append(slices[1])


def move_along(slices: Slices) -> None:
    x, y, z = slices[4].ImagePositionPatient
    slices[4].ImagePositionPatient = [x, y, z + 1]


def tilt(slices: Slices) -> None:
    for number, dataset in enumerate(slices):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y + 0.5 * number, z]


def change(keyword: str, value: object, number: int = 1) -> Callable[[Slices], None]:
    def spoil(slices: Slices) -> None:
        setattr(slices[number], keyword, value)

    return spoil


def remove(keyword: str) -> Callable[[Slices], None]:
    def spoil(slices: Slices) -> None:
        delattr(slices[1], keyword)

    return spoil


def remove_from_all(keyword: str) -> Callable[[Slices], None]:
    def spoil(slices: Slices) -> None:
        for dataset in slices:
            delattr(dataset, keyword)

    return spoil


def lie(syntax: str) -> Callable[[Slices], None]:
    def spoil(slices: Slices) -> None:
        slices[1].file_meta.TransferSyntaxUID = syntax

    return spoil


@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop, r"about 2 mm, found 4 mm between .*a slice is missing"),
        (repeat_place, "are two slices of one place"),
        (repeat_slice, "are the same slice"),
        (move_along, r"about 2 mm, found 3 mm .*at another spacing"),
        (tilt, r"shifted against one another by up to 2\.0 mm \(a tilted gantry"),
        (change("SeriesInstanceUID", "2.25.77"), r"found 2 series \(of \d and \d slices\)"),
        (change("PixelSpacing", [0.6, 0.6]), "expected the spacing"),
        (change("PixelSpacing", [0, 0.5]), "expected a positive spacing of pixels in mm"),
        (change("ImageOrientationPatient", [0, 1, 0, 0, 0, 1]), "expected the orientation"),
        (change("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), "a column at right angles"),
        (change("ImagePositionPatient", [1, 2]), "expected 3 finite numbers as ImagePosition"),
        (change("NumberOfFrames", 3), "found 3 frames: multi-frame DICOM is not read"),
        (change("PhotometricInterpretation", "MONOCHROME1"), "expected slices of grey values"),
        (remove("PixelSpacing"), r"has no spacing \(PixelSpacing is missing\)"),
        (remove("ImagePositionPatient"), r"has no position"),
        (remove("PixelData"), "has no pixel data"),
        (remove("RescaleSlope"), r"no RescaleSlope, as 1 of the 5 slices of its series"),
        (remove("RescaleIntercept"), r"no RescaleIntercept, as 1 of the 5 slices of its series"),
        (change("RescaleIntercept", ""), r"no RescaleIntercept, as 1 of the 5 slices"),
        (change("RescaleSlope", 0), r"finite RescaleSlope other than 0 .* found 0\.0 and -?\d"),
        (change("RescaleSlope", "nan"), r"finite RescaleSlope other than 0 .* found nan"),
        (change("RescaleIntercept", "inf"), r"a finite RescaleIntercept, found .* and inf"),
        (change("Rows", 21), r"is cut short: expected 672 bytes of pixels, found 640"),
        (lie("1.2.840.10008.1.2.1.99"), "transfer syntax .* is not read"),
    ],
)
def test_a_spoilt_series_is_refused(tmp_path: Path, spoil: Callable, message: str):
    slices = make_series(random_voxels())
    spoil(slices)
    with pytest.raises(ImageError, match=message):
        read_series_header(save_series(tmp_path, slices))


@pytest.mark.parametrize(("keyword", "by"), [("RescaleSlope", 1), ("RescaleIntercept", 0)])
def test_a_rescale_that_no_slice_states_is_none(tmp_path: Path, keyword: str, by: int):
    stored = random_voxels()
    slices = make_series(stored, slope=2, intercept=-1000)
    remove_from_all(keyword)(slices)
    volume = read_series(read_series_header(save_series(tmp_path, slices)))
    slope, intercept = (by, -1000) if keyword == "RescaleSlope" else (2, by)
    assert np.array_equal(volume.voxels, stored * float(slope) + intercept)


def rewrite_syntax(path: Path, old: str, new: str) -> None:
    """Changes what the file says of its encoding, and nothing else."""
    data = path.read_bytes()
    padded = [uid.encode() + b"\0" * (len(uid) % 2) for uid in (old, new)]
    at = data.index(padded[0])
    length = len(padded[1]).to_bytes(2, "little")
    group = int.from_bytes(data[140:144], "little") + len(padded[1]) - len(padded[0])
    head = data[:140] + group.to_bytes(4, "little") + data[144 : at - 2]
    path.write_bytes(head + length + padded[1] + data[at + len(padded[0]) :])


@pytest.mark.parametrize(
    ("written", "said", "message"),
    [
        (ExplicitVRLittleEndian, JPEGLosslessSV1, "bytes of pixels that are not in frag"),
        (
            ExplicitVRLittleEndian,
            ImplicitVRLittleEndian,
            "implicit little endian, and holds elements with a VR",
        ),
        (RLELossless, ExplicitVRLittleEndian, "pixel data in fragments"),
        (RLELossless, JPEG2000Lossless, "not JPEG 2000"),
        (RLELossless, JPEGLosslessSV1, "not a JPEG image"),
    ],
)
def test_a_transfer_syntax_that_lies_is_refused(
    tmp_path: Path, written: str, said: str, message: str
):
    slices = make_series(random_voxels())
    if written == RLELossless:
        for dataset in slices:
            dataset.compress(RLELossless)
    folder = save_series(tmp_path, slices)
    read_series_header(folder)
    rewrite_syntax(next(folder.iterdir()), written, said)
    with pytest.raises(ImageError, match=message):
        read_series_header(folder)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_slice_cut_anywhere_is_refused(tmp_path: Path, compressed: bool):
    slices = make_series(random_voxels())
    if compressed:
        for dataset in slices:
            dataset.compress(RLELossless)
    folder = save_series(tmp_path, slices)
    path = sorted(folder.iterdir())[2]
    whole = path.read_bytes()
    for length in [0, 100, 140, 200, 400, 600, *range(len(whole) - 130, len(whole), 9)]:
        path.write_bytes(whole[:length])
        with pytest.raises(ImageError, match=path.name):
            read_series_header(folder)
    path.write_bytes(whole)
    read_series_header(folder)


def test_a_folder_without_slices_and_a_single_slice_are_refused(tmp_path: Path):
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(ImageError, match="found none"):
        read_series_header(tmp_path)
    save_series(tmp_path, make_series(random_voxels())[:1])
    with pytest.raises(ImageError, match="expected a series of slices, found 1"):
        read_series_header(tmp_path)
