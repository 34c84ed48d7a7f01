"""Files are written by pydicom and by GDCM, which SimpleITK brings; both read them back as well."""

import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

from mlp_med.errors import ImageError
from mlp_med.imaging.plane import Plane, render_plane
from mlp_med.imaging.radiograph import read_radiograph, read_radiograph_header

REAL = Path(__file__).parents[2] / "../shared/real/mammography_dicom/GH133.dcm"
COMPRESSORS = {"JPEG": "1.2.840.10008.1.2.4.70", "JPEG2000": "1.2.840.10008.1.2.4.90"}
SYNTAXES = ("implicit", "explicit", "RLE", *COMPRESSORS)


def some_pixels(dtype: str = "uint16", bits: int = 12, shape=(40, 30)) -> np.ndarray:
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if dtype[0] == "i" else (0, 1 << bits)
    rng = np.random.default_rng(0)
    pixels = rng.integers(low, high, shape).astype(dtype)
    pixels[0, :2] = low, high - 1  # its whole range
    return pixels


def gdcm_fragment(folder: Path, pixels: np.ndarray, compressor: str) -> bytes:
    """The compressed image that GDCM makes of some pixels, without loss."""
    path = folder / f"{compressor}.dcm"
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.SetFileName(str(path))
    writer.Execute(sitk.GetImageFromArray(pixels))
    written = pydicom.dcmread(path)
    assert written.file_meta.TransferSyntaxUID == COMPRESSORS[compressor]
    return next(pydicom.encaps.generate_frames(written.PixelData, number_of_frames=1))


def write_dicom(path: Path, pixels: np.ndarray, syntax="explicit", bits=12, **elements) -> Path:
    """A mammogram as a DICOM file; `elements` by keyword, None to leave one out."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    data.SOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    data.PatientName = "Somebody^Real"
    data.Modality = "MG"
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = 8 * pixels.dtype.itemsize
    data.BitsStored, data.HighBit = bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in elements.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax == "implicit":
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    elif syntax == "RLE":
        data.compress(RLELossless, generate_instance_uid=False)
    elif syntax in COMPRESSORS:
        data.PixelData = encapsulate([gdcm_fragment(path.parent, pixels, syntax)])
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = UID(COMPRESSORS[syntax])
    data.save_as(path, enforce_file_format=True)
    return path


def read(path: Path):
    return read_radiograph(read_radiograph_header(path))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint16", 12), ("uint16", 16)])
def test_every_transfer_syntax_gives_the_same_values_at_their_own_depth(
    tmp_path, syntax, dtype, bits
):
    pixels = some_pixels(dtype, bits)
    path = write_dicom(tmp_path / "image.dcm", pixels, syntax, bits)
    radiograph = read(path)
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert radiograph.pixels.dtype.itemsize == pixels.dtype.itemsize


@pytest.mark.parametrize("syntax", ["explicit", "RLE", "JPEG", "JPEG2000"])
def test_signed_values_stay_signed(tmp_path, syntax):
    pixels = some_pixels("int16", 16)
    path = write_dicom(tmp_path / "image.dcm", pixels, syntax, 16)
    np.testing.assert_array_equal(read(path).pixels, pixels)
    assert read_radiograph_header(path).signed


@pytest.mark.parametrize(
    "name",
    [
        "MR_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "JPEG2000.dcm",
        "J2K_pixelrep_mismatch.dcm",
        "examples_overlay.dcm",
    ],
)
def test_files_of_other_makers_read_as_pydicom_reads_them(name):
    path = get_testdata_file(name, download=False)
    np.testing.assert_array_equal(read(Path(path)).pixels, pydicom.dcmread(path).pixel_array)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    slope=st.sampled_from([1, 2, -1, 0.5, 0.25]),
    intercept=st.integers(-3000, 3000),
    signed=st.booleans(),
)
def test_rescaling_is_that_of_the_header(tmp_path, slope, intercept, signed):
    pixels = some_pixels("int16" if signed else "uint16", 16 if signed else 12)
    path = write_dicom(
        tmp_path / "image.dcm",
        pixels,
        bits=16 if signed else 12,
        RescaleSlope=str(slope),
        RescaleIntercept=str(intercept),
    )
    expected = pixels * np.float64(slope) + intercept
    np.testing.assert_array_equal(read(path).pixels, expected)


def test_monochrome1_is_turned_over_within_its_stored_range(tmp_path):
    pixels = some_pixels()
    pixels[0, 0] = 1  # so that the range is that of the bits, not of the image
    kwargs = {"PhotometricInterpretation": "MONOCHROME1"}
    path = write_dicom(tmp_path / "image.dcm", pixels, **kwargs)
    np.testing.assert_array_equal(read(path).pixels, 4095 - pixels)
    scaled = write_dicom(
        tmp_path / "scaled.dcm", pixels, RescaleSlope="2", RescaleIntercept="-10", **kwargs
    )
    np.testing.assert_array_equal(read(scaled).pixels, 2 * (4095 - pixels.astype(int)) - 10)
    signed = some_pixels("int16", 16)
    path = write_dicom(tmp_path / "signed.dcm", signed, bits=16, **kwargs)
    np.testing.assert_array_equal(read(path).pixels, -1 - signed)
    for syntax in SYNTAXES:
        path = write_dicom(tmp_path / "image.dcm", pixels, syntax, **kwargs)
        np.testing.assert_array_equal(read(path).pixels, 4095 - pixels)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("value", [0, 4095])
def test_padding_is_dark_whether_it_is_stored_black_or_white(tmp_path, kind, value):
    pixels = np.clip(some_pixels(), 100, 3000)
    pixels[5:9] = value
    pixels[9] = abs(value - 20)
    path = write_dicom(
        tmp_path / "image.dcm",
        pixels,
        PhotometricInterpretation=kind,
        PixelPaddingValue=value,
        PixelPaddingRangeLimit=abs(value - 30),
    )
    radiograph = read(path)
    darkest = 100 if kind == "MONOCHROME2" else 4095 - 3000
    assert radiograph.background == darkest
    assert (radiograph.pixels[5:10] == darkest).all()
    rest = np.delete(np.arange(40), np.arange(5, 10))
    shown = pixels[rest] if kind == "MONOCHROME2" else 4095 - pixels[rest]
    np.testing.assert_array_equal(radiograph.pixels[rest], shown)


def test_spacing_is_x_y_and_the_calibrated_one_comes_first(tmp_path):
    path = tmp_path / "image.dcm"
    assert read_radiograph_header(write_dicom(path, some_pixels())).spacing_mm is None
    write_dicom(path, some_pixels(), ImagerPixelSpacing=["0.1", "0.2"])
    assert read_radiograph_header(path).spacing_mm == (0.2, 0.1)
    write_dicom(path, some_pixels(), ImagerPixelSpacing=["0.1", "0.1"], PixelSpacing=["1", "2"])
    assert read_radiograph_header(path).spacing_mm == (2, 1)
    write_dicom(path, some_pixels(), PixelSpacing=["0", "0"])
    with pytest.raises(ImageError, match="positive PixelSpacing"):
        read_radiograph_header(path)


def test_a_field_in_mm_lies_where_its_pixels_are(tmp_path):
    """Rows are 0.1 mm apart and columns 0.2 mm: a square of 8 mm at (30 mm, 12 mm)."""
    pixels = np.full((400, 300), 50, np.uint16)
    pixels[80:160, 130:170] = 1000
    path = write_dicom(tmp_path / "image.dcm", pixels, ImagerPixelSpacing=["0.1", "0.2"])
    header = read_radiograph_header(path)
    plane = read(path).plane(header.spacing_mm)
    crop = render_plane(plane, np.array([29.9, 11.95]), 16.0, 0.5, 50.0)
    assert crop.shape == (32, 32, 1)
    bright = np.argwhere(crop[..., 0] > 525)
    assert (bright.min(axis=0) == 8).all()
    assert (bright.max(axis=0) == 23).all()


def test_no_name_is_kept(tmp_path):
    header = read_radiograph_header(write_dicom(tmp_path / "image.dcm", some_pixels()))
    assert "Somebody" not in repr(header)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("cut", [1, 40, 700])
def test_a_file_that_is_cut_short_is_refused(tmp_path, syntax, cut):
    path = write_dicom(tmp_path / "image.dcm", some_pixels(), syntax)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with pytest.raises(ImageError, match="cut short"):
        read_radiograph_header(path)


def test_a_compressed_image_that_ends_early_within_its_fragment_is_refused(tmp_path):
    for compressor, syntax in COMPRESSORS.items():
        path = write_dicom(tmp_path / "image.dcm", some_pixels(), compressor)
        data = pydicom.dcmread(path)
        half = gdcm_fragment(tmp_path, some_pixels(), compressor)[:600]
        data.PixelData = encapsulate([half])
        data.save_as(path)
        assert data.file_meta.TransferSyntaxUID == syntax
        with pytest.raises(ImageError, match="cut short: expected the end"):
            read_radiograph_header(path)


@pytest.mark.parametrize("stated", SYNTAXES)
@pytest.mark.parametrize("held", SYNTAXES)
def test_a_transfer_syntax_that_lies_is_refused(tmp_path, stated, held):
    """The stated one replaces that of a whole file, byte for byte."""
    path = write_dicom(tmp_path / "image.dcm", some_pixels(), held)
    uids = {
        "implicit": ImplicitVRLittleEndian,
        "explicit": ExplicitVRLittleEndian,
        "RLE": RLELossless,
        **COMPRESSORS,
    }
    whole = path.read_bytes()
    path.write_bytes(_with_syntax(whole, str(uids[held]), str(uids[stated])))
    if stated == held:
        np.testing.assert_array_equal(read(path).pixels, some_pixels())
        return
    with pytest.raises(ImageError, match="says that its transfer syntax is"):
        read_radiograph_header(path)


def _with_syntax(whole: bytes, old: str, new: str) -> bytes:
    """The element (0002,0010) rewritten, and the length of its group."""

    def element(uid: str) -> bytes:
        value = uid.encode() + b"\0" * (len(uid) % 2)
        return b"\x02\x00\x10\x00UI" + struct.pack("<H", len(value)) + value

    grown = len(element(new)) - len(element(old))
    at = 132 + 8
    (length,) = struct.unpack("<I", whole[at : at + 4])
    whole = whole[:at] + struct.pack("<I", length + grown) + whole[at + 4 :]
    return whole.replace(element(old), element(new), 1)


def test_a_lossy_frame_under_a_lossless_name_is_refused(tmp_path):
    """Baseline JPEG is what careless software writes under any name."""
    path = Path(get_testdata_file("SC_rgb_small_odd_jpeg.dcm", download=False))
    lossy = pydicom.dcmread(path)
    assert lossy.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    image = write_dicom(tmp_path / "image.dcm", some_pixels("uint8", 8, (40, 30)), "JPEG", 8)
    data = pydicom.dcmread(image)
    data.PixelData = lossy.PixelData
    data.save_as(image)
    with pytest.raises(ImageError, match="frame of type 0, not lossless"):
        read_radiograph_header(image)


@pytest.mark.parametrize("syntax", COMPRESSORS)
def test_a_compressed_image_of_another_size_than_the_header_says_is_refused(tmp_path, syntax):
    path = write_dicom(tmp_path / "image.dcm", some_pixels(), syntax, Rows=41)
    with pytest.raises(ImageError, match=r"expected 30×41 .* found 30×40"):
        read_radiograph_header(path)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"NumberOfFrames": 12}, "12 frames"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "grey values"),
        ({"PhotometricInterpretation": None}, "grey values"),
        ({"BitsStored": 40}, "8 or 16 bits"),
        ({"Rows": None}, "holds no image"),
        ({"RescaleSlope": "0"}, "RescaleSlope other than 0"),
        ({"RescaleSlope": "nan"}, "RescaleSlope other than 0 .* found nan"),
        ({"RescaleIntercept": "-inf"}, "a finite RescaleIntercept, found None and -inf"),
        ({"Rows": 400}, "cut short"),
    ],
)
def test_what_is_no_plain_radiograph_is_refused_with_the_reason(tmp_path, elements, message):
    path = write_dicom(tmp_path / "image.dcm", some_pixels(), **elements)
    with pytest.raises(ImageError, match=message):
        read_radiograph_header(path)


def test_no_pixels_no_dicom_and_no_file_are_told_apart(tmp_path):
    path = write_dicom(tmp_path / "image.dcm", some_pixels())
    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(path)
    with pytest.raises(ImageError, match="has no pixel data"):
        read_radiograph_header(path)
    path.write_text("id,label\n")
    with pytest.raises(ImageError, match="is no DICOM file"):
        read_radiograph_header(path)
    with pytest.raises(ImageError, match="is missing"):
        read_radiograph_header(tmp_path / "none.dcm")
    lossy = get_testdata_file("JPEG-lossy.dcm", download=False)
    with pytest.raises(ImageError, match=r"expected one of the transfer syntaxes .* found JPEG Ex"):
        read_radiograph_header(lossy)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_a_jpeg_2000_image_made_for_more_bits_than_are_stored(tmp_path, kind):
    """GDCM turns MONOCHROME1 over within the 16 bits, which would leave no value of 12 bits."""
    pixels = some_pixels()
    path = write_dicom(tmp_path / "a.dcm", pixels, "JPEG2000", 12, PhotometricInterpretation=kind)
    assert read_radiograph_header(path).bits_decoded == 16
    expected = pixels if kind == "MONOCHROME2" else 4095 - pixels
    np.testing.assert_array_equal(read(path).pixels, expected)
    wide = write_dicom(tmp_path / "b.dcm", some_pixels(bits=16), "JPEG2000", bits=12)
    with pytest.raises(ImageError, match="expected stored values of 12 bits"):
        read(wide)


@pytest.mark.skipif(not REAL.is_file(), reason="the real mammogram is not at hand")
def test_a_real_mammogram_in_jpeg_lossless():
    header = read_radiograph_header(REAL)
    assert header.size == (2394, 3062)
    assert header.spacing_mm == pytest.approx((0.094, 0.094), abs=2e-4)
    assert (header.modality, header.view, header.laterality) == ("MG", "MLO", "R")
    assert header.bits_stored == 12
    radiograph = read_radiograph(header)
    assert radiograph.pixels.shape == (3062, 2394)
    assert radiograph.pixels.max() == 3471
    assert radiograph.background == radiograph.pixels.min() == 31  # 0 to 30 are padding
    for spacing_mm, size in [(0.1, 512), (0.2, 256), (0.4, 128), (0.8, 64)]:
        plane = radiograph.plane(header.spacing_mm)
        crop = render_plane(plane, np.array([170.0, 140.0]), 51.2, spacing_mm, 31.0)
        assert crop.shape == (size, size, 1)
        assert crop.mean() == pytest.approx(2523, abs=10)  # breast, not air


def test_a_field_may_be_wider_than_high():
    rng = np.random.default_rng(0)
    pixels = rng.random((300, 200, 1)).astype(np.float32)
    plane = Plane(pixels, (0.5, 0.5), (0.0, 0.0), np.eye(2))
    centre = np.array([49.75, 74.75])
    square = render_plane(plane, centre, 64.0, 0.5, 0.0)
    part = render_plane(plane, centre, (48.0, 20.0), 0.5, 0.0)
    assert part.shape == (40, 96, 1)
    np.testing.assert_allclose(part, square[44:84, 16:112], atol=1e-5)
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    oblique = Plane(pixels, (0.5, 0.5), (0.0, 0.0), turn)
    whole = render_plane(oblique, turn @ centre, 64.0, 0.5, 0.0)
    part = render_plane(oblique, turn @ centre, (48.0, 20.0), 0.5, 0.0)
    np.testing.assert_allclose(part, whole[44:84, 16:112], atol=1e-2)
