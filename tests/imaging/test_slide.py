import builtins
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlp_med.errors import ImageError
from mlp_med.imaging.slide import (
    SlideHeader,
    opened,
    read_field,
    read_header,
    read_overview,
    render_field,
)
from mlp_med.phantoms.slide_file import write_slide

REAL = Path(__file__).parents[3] / "shared/real/whole_slide/cmu-1-small-region.svs"
needs_real = pytest.mark.skipif(
    not REAL.exists(), reason="the real slide is not beside this checkout"
)
COARSEST_UM = 1.944
EXTENT_UM = 62.208


def ramp(width: int, height: int) -> np.ndarray:
    """A smooth image, which JPEG keeps to a grey level or two."""
    y, x = np.indices((height, width)) / max(width, height)
    return np.stack([60 + 150 * x, 80 + 120 * y, 200 - 100 * x * y], axis=-1).astype(np.uint8)


@pytest.fixture(scope="module", params=[0.243, 0.226])
def slide_file(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    write_slide(path, ramp(1300, 1100), request.param)
    return path


def field(path: Path, centre_um: tuple[float, float], resolution_um: float) -> np.ndarray:
    header = read_header(path)
    with opened(path) as slide:
        read = read_field(slide, header, centre_um, EXTENT_UM, COARSEST_UM)
    return render_field(read, centre_um, EXTENT_UM, resolution_um)


def test_a_header_says_size_pixel_size_and_levels(slide_file):
    header = read_header(slide_file)
    assert header.size == (1300, 1100)
    assert header.num_levels == 4  # 1100, 550, 275 and 137 pixels
    assert header.pixel_um[0] in (pytest.approx(0.243), pytest.approx(0.226))
    assert header.extent_um[0] == pytest.approx(1300 * header.pixel_um[0])


@pytest.mark.parametrize("resolution_um", [0.243, 0.486, 0.972, 1.944])
def test_a_ramp_is_the_same_ramp_in_micrometres_at_every_resolution(slide_file, resolution_um):
    centre = (150.0, 120.0)
    image = field(slide_file, centre, resolution_um)
    size = round(EXTENT_UM / resolution_um)
    assert image.shape == (size, size, 3)
    header = read_header(slide_file)
    places = centre[0] + (np.arange(size) - (size - 1) / 2) * resolution_um
    expected = 60 + 150 * (places / header.pixel_um[0] - 0.5) / 1300
    assert np.abs(image[..., 0].mean(axis=0) - expected).max() < 1.5


def test_detail_finer_than_a_resolution_is_gone_and_coarser_detail_stays(tmp_path):
    x = np.arange(1024) * 0.243
    for period_um, kept in ((1.5, False), (15.0, True)):
        wave = 128 + 90 * np.sin(2 * np.pi * x / period_um)
        pixels = np.broadcast_to(wave[None, :, None], (1024, 1024, 3)).astype(np.uint8)
        path = tmp_path / f"{period_um}.tif"
        write_slide(path, pixels, 0.243)
        contrast = field(path, (124.4, 124.4), 1.944).std()
        assert (contrast > 50) if kept else (contrast < 2)


def test_what_is_read_beyond_the_edge_is_white_and_the_rest_as_within(slide_file):
    centre = (20.0, 120.0)
    image = field(slide_file, centre, 0.972)
    outside = int((EXTENT_UM / 2 - centre[0]) / 0.972)
    assert (image[:, :outside] == 255).all()
    assert image[:, outside + 1 :, 0].max() < 120


def test_an_overview_is_the_mean_of_what_it_covers(slide_file):
    header = read_header(slide_file)
    with opened(slide_file) as slide:
        overview = read_overview(slide, header, 7.776)
    rows, columns = (round(edge / 7.776) for edge in reversed(header.extent_um))
    assert overview.shape == (rows, columns, 3)
    middle_um = (np.arange(columns) + 0.5) * 7.776
    expected = 60 + 150 * middle_um / header.pixel_um[0] / 1300
    # The coarsest level has pixels of up to 7.8 µm, so borders are a pixel off at most.
    assert np.abs(overview[..., 0].mean(axis=0) - expected).max() < 5


def test_an_overview_in_blocks_is_that_in_one_block(slide_file, monkeypatch):
    header = read_header(slide_file)
    with opened(slide_file) as slide:
        whole = read_overview(slide, header, 7.776)
        monkeypatch.setattr("mlp_med.imaging.slide.BLOCK_PIXELS", 20)
        blocks = read_overview(slide, header, 7.776)
    # Blocks begin at whole pixels of level 0, so between two pixels of the level that is read.
    assert np.abs(blocks.astype(int) - whole).max() <= 1


def test_a_slide_that_cannot_be_read_says_why(tmp_path, slide_file):
    def failure(path: Path) -> str:
        with pytest.raises(ImageError) as caught:
            read_header(path)
        return str(caught.value)

    assert "is missing" in failure(tmp_path / "absent.tif")
    (tmp_path / "text.tif").write_text("no slide")
    assert "no slide that OpenSlide reads" in failure(tmp_path / "text.tif")
    plain = tmp_path / "plain.tif"
    Image.fromarray(ramp(64, 64)).save(plain)
    assert "OpenSlide reads" in failure(plain)
    cut = tmp_path / "cut.tif"
    cut.write_bytes(slide_file.read_bytes()[:2000])
    assert "cut.tif" in failure(cut)


def test_pixels_of_no_size_or_of_one_that_cannot_be_are_refused(tmp_path):
    import tifffile

    pixels = ramp(256, 256)
    tifffile.imwrite(tmp_path / "none.tif", pixels, tile=(128, 128), resolution=None, metadata=None)
    with pytest.raises(ImageError, match="does not state the size of its pixels"):
        read_header(tmp_path / "none.tif")
    write_slide(tmp_path / "screen.tif", pixels, 352.8)  # 72 pixels an inch
    with pytest.raises(ImageError, match=r"states pixels of 352\.8 µm, expected 0\.05 to 5 µm"):
        read_header(tmp_path / "screen.tif")


def test_a_slide_damaged_behind_its_header_is_told_when_it_is_read(slide_file, tmp_path):
    content = bytearray(slide_file.read_bytes())
    content[5000:-5000] = bytes(len(content) - 10000)
    broken = tmp_path / "broken.tif"
    broken.write_bytes(content)
    with pytest.raises(ImageError, match=r"broken\.tif"):
        field(broken, (100.0, 100.0), 0.972)


def test_without_openslide_the_extra_is_named(slide_file, monkeypatch):
    imported = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("openslide"):
            raise ImportError(name)
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImageError, match=r"mlp-med\[slides\]"):
        read_header(slide_file)


@needs_real
def test_a_real_svs_is_read_and_rendered():
    header = read_header(REAL)
    assert header == SlideHeader(REAL, (2220, 2967), (0.499, 0.499), 1, "aperio")
    with opened(REAL) as slide:
        pixels = np.asarray(slide.read_region((1000, 1200), 0, (128, 128)))[..., :3]
        overview = read_overview(slide, header, 7.984)  # 16 native pixels
        block = np.asarray(slide.read_region((16 * 40, 16 * 50), 0, (16, 16)))[..., :3]
    assert overview.shape == (185, 139, 3)
    np.testing.assert_allclose(overview[50, 40], block.reshape(-1, 3).mean(axis=0), atol=0.5)
    # At its own resolution and on its own grid the field is the file's pixels.
    centre = (1064 * 0.499, 1264 * 0.499)
    with opened(REAL) as slide:
        read = read_field(slide, header, centre, 128 * 0.499, 4 * 0.499)
    np.testing.assert_array_equal(render_field(read, centre, 128 * 0.499, 0.499), pixels)
    for factor in (2, 4):
        image = render_field(read, centre, 128 * 0.499, factor * 0.499)
        assert image.shape == (128 // factor, 128 // factor, 3)
        np.testing.assert_allclose(image.mean(axis=(0, 1)), pixels.mean(axis=(0, 1)), atol=1.5)
        blocks = pixels.reshape(128 // factor, factor, 128 // factor, factor, 3).mean(axis=(1, 3))
        assert np.corrcoef(image.ravel(), blocks.ravel())[0, 1] > 0.97
