"""Where the breast is in a mammogram, found on a thumbnail of about 1 mm."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

THUMBNAIL_MM = 1.0  # about: a whole number of native pixels
# Where the breast begins, between the darkest and the brightest of the film.
BREAST_ABOVE = 0.1


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A film at about 1 mm.

    Attributes:
        pixels: float32 [rows, columns], means of blocks.
        step_mm: edge of a block.
        pixel_mm: native pixel, whose first centre is the origin of the film's millimetres.
    """

    pixels: np.ndarray
    step_mm: float
    pixel_mm: float

    def index(self, centre_mm: np.ndarray) -> np.ndarray:
        """(x, y) in mm of the film → (row, column) of the block that it lies in."""
        found = np.floor((np.asarray(centre_mm)[::-1] + self.pixel_mm / 2) / self.step_mm)
        return np.clip(found, 0, np.array(self.pixels.shape) - 1).astype(int)

    def centre_mm(self, row: int, column: int) -> np.ndarray:
        """The centre of a block as (x, y) in mm of the film."""
        return (np.array([column, row]) + 0.5) * self.step_mm - self.pixel_mm / 2


def thumbnail(pixels: np.ndarray, pixel_mm: float) -> Thumbnail:
    """Means of square blocks of about 1 mm; what does not fill a block at the far edges is cut."""
    block = max(1, round(THUMBNAIL_MM / pixel_mm))
    rows, columns = (length // block for length in pixels.shape)
    whole = pixels[: rows * block, : columns * block]
    blocks = whole.reshape(rows, block, columns, block).astype(np.float32)
    return Thumbnail(blocks.mean(axis=(1, 3)), block * pixel_mm, pixel_mm)


def breast_of(film: Thumbnail) -> np.ndarray:
    """Bool [rows, columns]: the largest bright part without its holes; labels are other parts."""
    dark, bright = np.percentile(film.pixels, (2, 99))
    parts, number = ndimage.label(film.pixels > dark + BREAST_ABOVE * (bright - dark))
    if not number:
        return np.zeros(film.pixels.shape, bool)
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return ndimage.binary_fill_holes(parts == largest)
