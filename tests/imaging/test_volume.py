import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mlp_med.errors import ImageError
from mlp_med.imaging.crop import render_crops
from mlp_med.imaging.volume import (
    contains,
    continuous_index,
    is_finer_than_native,
    read_header,
    read_volume,
)

REAL = Path(__file__).parents[3] / "shared/real/ct_luna16_layout/subset0"
SPACING = (0.7, 0.8, 2.5)
ORIGIN = (-150.5, 20.25, -700.0)


def write(folder: Path, voxels: np.ndarray | None = None, compressed: bool = False) -> Path:
    """Writes a small scan with an oblique direction; voxels are distinct."""
    if voxels is None:
        voxels = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7) - 100
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection((0.6, -0.8, 0, 0.8, 0.6, 0, 0, 0, 1))
    path = folder / "scan.mhd"
    sitk.WriteImage(image, str(path), compressed)
    return path


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    assert count == 1
    path.write_text(text)


@pytest.mark.parametrize("compressed", [False, True])
def test_reads_voxels_and_geometry(tmp_path: Path, compressed: bool):
    path = write(tmp_path, compressed=compressed)
    assert (tmp_path / ("scan.zraw" if compressed else "scan.raw")).exists()
    volume, header = read_volume(path), read_header(str(path))
    assert volume.voxels.dtype == np.int16
    np.testing.assert_array_equal(volume.voxels.ravel(), np.arange(210) - 100)
    for scan in (volume, header):
        assert scan.size == (7, 6, 5)
        assert scan.spacing_mm == SPACING
        assert scan.origin_mm == ORIGIN
        np.testing.assert_allclose(scan.direction[:, 0], [0.6, 0.8, 0])
    assert header.data_path.parent == tmp_path


def test_a_header_written_on_windows_is_read(tmp_path: Path):
    path = write(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_volume(path).size == (7, 6, 5)


def test_physical_points_and_indices(tmp_path: Path):
    header = read_header(write(tmp_path))
    image = sitk.ReadImage(str(tmp_path / "scan.mhd"))
    for index in [(0, 0, 0), (6, 5, 4), (3, 2, 1)]:
        point = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(continuous_index(header, point), index, atol=1e-9)
        assert contains(header, point)
    outside = image.TransformContinuousIndexToPhysicalPoint((6.6, 0.0, 0.0))
    assert not contains(header, outside)


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r"^NDims = 3", "NDims = 4", "3D scan, found NDims = 4"),
        (r"^NDims = 3\n", "", "NDims is absent"),
        (r"^ElementSpacing = .*\n", "", "ElementSpacing is absent"),
        (r"^ElementSpacing = .*", "ElementSpacing = 0.7 0 2.5", "found ElementSpacing = 0.7 0 2.5"),
        (r"^ElementSpacing = .*", "ElementSpacing = 0.7 -0.7 2.5", "positive spacings"),
        (r"^ElementSpacing = .*", "ElementSpacing = 0.7 nan 2.5", "three finite numbers"),
        (r"^ElementSpacing = .*", "ElementSpacing = 0.7 0.7", "three finite numbers"),
        (r"^ElementSpacing = .*", "ElementSpacing = a b c", "three finite numbers"),
        (r"^Offset = .*", "Offset = 0 0 nan", "found Offset = 0 0 nan"),
        (r"^DimSize = .*", "DimSize = 7 6 4", "too long: expected 336 bytes from DimSize 7×6×4"),
        (r"^DimSize = .*", "DimSize = 7 6 6", "truncated: expected 504 bytes .* found 420"),
        (r"^DimSize = .*", "DimSize = 7 6 0", "positive whole numbers"),
        (r"^DimSize = .*\n", "", "DimSize is absent"),
        (r"^ElementType = .*", "ElementType = MET_FLOAT", "truncated: expected 840"),
        (r"^ElementType = .*", "ElementType = MET_COLOUR", "found MET_COLOUR"),
        (r"^ElementType", "ElementNumberOfChannels = 3\nElementType", "one value a voxel"),
        (r"^BinaryData = True", "BinaryData = False", "binary voxels"),
        (r"^TransformMatrix = .*", "TransformMatrix = 1 0 0 1 0 0 0 0 1", "SimpleITK|orthonormal"),
        (r"^TransformMatrix = .*", "TransformMatrix = 2 0 0 0 1 0 0 0 1", "orthonormal"),
        (r"^ElementDataFile = .*", "ElementDataFile = other.raw", "other.raw are missing"),
        (r"^ElementDataFile = .*", "ElementDataFile = LIST", "one data file"),
        (r"^ElementDataFile = .*", "", "ElementDataFile is absent"),
    ],
)
def test_a_bad_header_is_refused(tmp_path: Path, pattern: str, replacement: str, message: str):
    path = write(tmp_path)
    edit(path, pattern, replacement)
    for read in (read_header, read_volume):
        with pytest.raises(ImageError, match=message) as error:
            read(path)
        assert "scan" in str(error.value)


def test_missing_files_are_refused(tmp_path: Path):
    with pytest.raises(ImageError, match=r"none\.mhd: cannot be read"):
        read_volume(tmp_path / "none.mhd")
    path = write(tmp_path)
    (tmp_path / "scan.raw").unlink()
    with pytest.raises(ImageError, match=r"scan\.mhd: its voxels scan\.raw are missing"):
        read_header(path)


def test_a_truncated_raw_is_refused(tmp_path: Path):
    path = write(tmp_path)
    raw = tmp_path / "scan.raw"
    raw.write_bytes(raw.read_bytes()[:-10])
    with pytest.raises(ImageError, match=r"scan\.raw: truncated: expected 420 .* found 410"):
        read_header(path)


def test_damaged_compressed_voxels_are_refused(tmp_path: Path):
    """SimpleITK alone reads each of these without a word, but for the shortened one."""
    path = write(tmp_path, compressed=True)
    zraw = tmp_path / "scan.zraw"
    whole = zraw.read_bytes()
    zraw.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"truncated: .* CompressedDataSize = 334, found 167"):
        read_header(path)
    edit(path, r"^CompressedDataSize = .*\n", "")
    with pytest.raises(ImageError, match="breaks off"):
        read_volume(path)
    zraw.write_bytes(whole[:-2])  # all voxels are there, but not their checksum
    with pytest.raises(ImageError, match="found 420 before the stream breaks off"):
        read_volume(path)
    zraw.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ImageError, match="damaged"):
        read_volume(path)
    zraw.write_bytes(whole)
    edit(path, r"^DimSize = .*", "DimSize = 7 6 6")
    with pytest.raises(ImageError, match=r"expected 504 bytes of voxels .* found 420"):
        read_volume(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_finite_are_refused(tmp_path: Path, value: float):
    voxels = np.zeros((5, 6, 7), np.float32)
    voxels[2, 3, 4] = value
    with pytest.raises(ImageError, match="found 1 that are NaN or infinite"):
        read_volume(write(tmp_path, voxels))


def test_finer_than_native_is_told_by_the_coarsest_axis():
    assert is_finer_than_native((0.6, 0.6, 2.5), 1.25)
    assert not is_finer_than_native((0.6, 0.6, 2.5), 2.5)
    assert not is_finer_than_native((0.6250001, 0.6, 0.6), 0.625)


@pytest.mark.skipif(not REAL.exists(), reason="the real scans are not beside this checkout")
@pytest.mark.parametrize(
    ("series", "centre_mm"),
    [("lung1", (-21.8586, -120.5358, -611.4964)), ("lung2", (52.6088, -95.8685, -256.4953))],
)
def test_real_scans(series: str, centre_mm: tuple[float, float, float]):
    volume = read_volume(REAL / f"{series}.mhd")
    assert contains(volume, centre_mm)
    assert is_finer_than_native(volume.spacing_mm, 2.5)
    assert not is_finer_than_native(volume.spacing_mm, 5.0)
    crops = render_crops(volume, centre_mm, 40, [0.625, 1.25, 2.5, 5.0])
    assert [crop.shape[0] for crop in crops] == [64, 32, 16, 8]
    # Both centres lie in solid tumour, in a field that also holds lung.
    for crop in crops:
        middle = crop.shape[0] // 2
        assert -150 < crop[(slice(middle - 1, middle + 1),) * 3].mean() < 200
        assert crop.min() < -700
    means = [crop.mean() for crop in crops]
    assert max(means) - min(means) < 30  # the same matter in each, however coarse
