from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlp_med.errors import ImageError
from mlp_med.imaging.image import read_patch, render_image

REAL = Path(__file__).parents[3] / "shared/real/pcam/train"


def test_reads_a_patch(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_patch(tmp_path / "a.tif", 96), pixels)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_bad_patches_are_refused(tmp_path: Path):
    with pytest.raises(ImageError, match=r"none\.tif: is missing"):
        read_patch(tmp_path / "none.tif", 96)
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    path = tmp_path / "a.tif"
    Image.fromarray(pixels[:90]).save(path)
    with pytest.raises(ImageError, match=r"a\.tif: expected 96×96 pixels, found 96×90"):
        read_patch(path, 96)
    Image.fromarray(pixels[..., 0]).save(path)
    with pytest.raises(ImageError, match="8-bit RGB, found mode L"):
        read_patch(path, 96)
    path.write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"a\.tif: is no readable image"):
        read_patch(path, 96)
    Image.fromarray(pixels).save(path)
    whole = path.read_bytes()
    for length in (0, 4, 20, len(whole) // 2, len(whole) - 100):
        path.write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"a\.tif: is no readable image"):
            read_patch(path, 96)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_a_colour_ramp_stays_a_ramp_to_the_edge(factor: int):
    row, column = np.mgrid[:96, :96]
    pixels = np.stack([2 * row, 2 * column, 255 - row - column], axis=-1).astype(np.uint8)
    image = render_image(pixels, factor)
    assert image.shape == (96 // factor, 96 // factor, 3)
    assert image.dtype == np.uint8
    at = (np.arange(96 // factor) + 0.5) * factor - 0.5
    expected = np.stack(
        [
            np.broadcast_to(2 * at[:, None], (len(at), len(at))),
            np.broadcast_to(2 * at, (len(at), len(at))),
            255 - at[:, None] - at,
        ],
        axis=-1,
    )
    assert np.abs(image - expected).max() <= 0.51  # half a grey level of rounding


def test_a_fine_pattern_becomes_grey_and_a_coarse_one_stays():
    stripes = np.where(np.arange(96) % 4 < 2, 0, 255).astype(np.uint8)
    image = render_image(np.broadcast_to(stripes[:, None], (96, 96, 3)), 8)
    np.testing.assert_allclose(image[:, 2:-2], 127.5, atol=2)
    np.testing.assert_allclose(image, 127.5, atol=12)  # nothing is known beyond the edge
    wave = np.rint(127.5 + 100 * np.cos(2 * np.pi * np.arange(96) / 48))
    image = render_image(np.broadcast_to(wave[:, None, None], (96, 96, 3)).astype(np.uint8), 8)
    assert image.max() > 215
    assert image.min() < 40


def test_a_flipped_image_is_rendered_to_the_flipped_image():
    pixels = np.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    flipped = render_image(np.ascontiguousarray(pixels[::-1]), 4)
    assert np.abs(flipped[::-1].astype(int) - render_image(pixels, 4)).max() <= 1


@pytest.mark.parametrize("factor", [0, 5])
def test_a_factor_that_does_not_divide_is_refused(factor: int):
    with pytest.raises(ValueError, match="divides 96×96"):
        render_image(np.zeros((96, 96, 3), np.uint8), factor)


@pytest.mark.skipif(not REAL.exists(), reason="the real patches are not beside this checkout")
def test_real_patches_keep_their_mean_colour():
    for path in sorted(REAL.iterdir())[:20]:
        pixels = read_patch(path, 96)
        for factor in (2, 4, 8):
            difference = render_image(pixels, factor).mean((0, 1)) - pixels.mean((0, 1))
            assert np.abs(difference).max() < 3
