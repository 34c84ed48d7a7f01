"""Pyramidal, tiled, JPEG-compressed TIFF files, as the converters of slide archives write them."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from mlp_med.errors import SourceError

TILE = 512
QUALITY = 80
SMALLEST_LEVEL = 128  # pixels along its shorter edge, about
# TIFF 6.0's numbers for what the tiles hold, which only libraries that encode JPEG let one ask for.
JPEG, YCBCR, YCBCR_SUBSAMPLING_TAG = 7, 6, 530
SUBSAMPLING = (2, 2)
UM_PER_CM = 1e4


def require_tifffile() -> ModuleType:
    """The module that writes TIFF.

    Raises:
        SourceError: it is not installed.
    """
    try:
        import tifffile
    except ImportError as error:
        raise SourceError(
            "slides are written by tifffile, which is not installed here; it comes with the extra "
            "'slides': pip install 'mlp-med[slides]', or make install-test in a checkout"
        ) from error
    return tifffile


def write_slide(path: Path, pixels: np.ndarray, pixel_um: float) -> None:
    """Writes uint8 RGB [y, x, 3] and its halves down to a thumbnail; whole or not at all.

    Raises:
        SourceError: tifffile is not installed.
        OSError: the file cannot be written.
    """
    tifffile = require_tifffile()
    unfinished = path.with_name(path.name + ".unfinished")
    with tifffile.TiffWriter(unfinished, bigtiff=True) as file:
        for level, image in enumerate(_pyramid(pixels)):
            pixels_a_cm = UM_PER_CM / (pixel_um * 2**level)
            file.write(
                _jpeg_tiles(image),
                shape=image.shape,
                dtype=image.dtype,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="zlib",  # corrected below; tiles that come as bytes are kept as such
                extratags=[(YCBCR_SUBSAMPLING_TAG, "H", 2, SUBSAMPLING, True)],
                resolution=(pixels_a_cm, pixels_a_cm),
                resolutionunit="CENTIMETER",
                subfiletype=1 if level else 0,
                software="mlp_med phantom",
                metadata=None,
            )
    with tifffile.TiffFile(unfinished, mode="r+b") as file:
        for page in file.pages:
            page.tags["Compression"].overwrite(JPEG)
            page.tags["PhotometricInterpretation"].overwrite(YCBCR)
    unfinished.replace(path)


def _pyramid(pixels: np.ndarray) -> Iterator[np.ndarray]:
    yield pixels
    while min(pixels.shape[:2]) >= 2 * SMALLEST_LEVEL * 0.75:
        height, width = (length // 2 * 2 for length in pixels.shape[:2])
        sums = np.zeros((height // 2, width // 2, 3), np.uint16)
        for row in range(2):
            for column in range(2):
                sums += pixels[row:height:2, column:width:2]
        pixels = ((sums + 2) // 4).astype(np.uint8)
        yield pixels


def _jpeg_tiles(image: np.ndarray) -> Iterator[bytes]:
    """The tiles in rows; those at the border are filled up with the border's pixels."""
    for top in range(0, image.shape[0], TILE):
        for left in range(0, image.shape[1], TILE):
            tile = image[top : top + TILE, left : left + TILE]
            missing = [(0, TILE - tile.shape[axis]) for axis in range(2)]
            tile = np.pad(tile, [*missing, (0, 0)], mode="edge")
            stream = io.BytesIO()
            Image.fromarray(tile).save(stream, "JPEG", quality=QUALITY, subsampling="4:2:0")
            yield stream.getvalue()
