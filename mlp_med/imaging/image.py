"""Small colour images (patches of slides): read, checked, and rendered coarser."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mlp_med.errors import ImageError
from mlp_med.imaging.antialias import resampling_weights


def read_patch(path: Path | str, size: int) -> np.ndarray:
    """Reads a patch as uint8 [size, size, 3], RGB.

    Raises:
        ImageError: the file is missing, damaged, of another size, or not 8-bit RGB.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            if image.size != (size, size):
                width, height = image.size
                raise ImageError(f"{path}: expected {size}×{size} pixels, found {width}×{height}")
            if image.mode != "RGB":
                raise ImageError(f"{path}: expected 8-bit RGB, found mode {image.mode}")
            return np.array(image, dtype=np.uint8)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: is missing; copy the patch again") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{path}: is no readable image ({error}); copy the patch again") from error


def render_image(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Renders an image at `factor` times its pixel spacing, in one anti-aliased step.

    The kernel is that of the CT crops. Nothing is known beyond the edge of a patch, so the weights
    there are corrected over the pixels that exist.

    Args:
        pixels: uint8 [height, width, channels].
        factor: native pixels an output pixel, along both axes.

    Returns:
        uint8 [height / factor, width / factor, channels], rounded; unchanged at factor 1.

    Raises:
        ValueError: `factor` does not divide the image.
    """
    height, width, _ = pixels.shape
    if factor < 1 or height % factor or width % factor:
        raise ValueError(f"expected a factor that divides {height}×{width} pixels, found {factor}")
    if factor == 1:
        return pixels
    rows, columns = (_matrix(length, factor) for length in (height, width))
    # Down the columns in a single product over all widths and channels, then along each row.
    image = rows @ pixels.astype(np.float32).reshape(height, -1)
    image = columns @ image.reshape(len(rows), width, -1)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


@cache
def _matrix(length: int, factor: int) -> np.ndarray:
    """Weights float32 [length / factor, length]; the same for every patch of a dataset."""
    positions = (np.arange(length // factor) + 0.5) * factor - 0.5
    first, weights = resampling_weights(positions, float(factor), length, edge="none")
    matrix = np.zeros((len(positions), length), dtype=np.float32)
    matrix[:, first : first + weights.shape[1]] = weights
    matrix.flags.writeable = False  # it is shared
    return matrix
