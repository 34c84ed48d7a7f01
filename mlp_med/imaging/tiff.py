"""A check that comes before OpenSlide: it takes the memory that a TIFF file's tags ask for.

Where it gets none, it ends the process. So tiles that lie beyond the file's end, or are larger than
any converter makes them, are refused beforehand. Read by tifffile, in Python.
"""

import logging
import struct
from pathlib import Path
from typing import Any

from mlp_med.errors import ImageError
from mlp_med.imaging.claims import BoundedFile, require_plausible_size

LARGEST_TILE_PIXELS = 4096**2
MOST_PAGES = 100  # levels, label, macro and thumbnail are a dozen
# What tifffile raises of tags that contradict one another; its own error is a ValueError.
DAMAGED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, struct.error)


def check_tiff(path: Path) -> None:
    """Checks every page's tags against the file's size; decodes nothing.

    Raises:
        ImageError: tifffile is not installed; no TIFF file, a tag or tile beyond its end, a tile of
            more than 4096² pixels, or an image that such a file cannot hold.
    """
    try:
        import tifffile
    except ImportError as error:
        raise ImageError(
            "slides are checked by tifffile, which is not installed here; it comes with the extra "
            "'slides': pip install 'mlp-med[slides]', or make install-test in a checkout"
        ) from error
    logger = logging.getLogger("tifffile")  # it tells of damage and goes on; we do not
    was, logger.disabled = logger.disabled, True
    try:
        with BoundedFile(path) as file, tifffile.TiffFile(file) as tiff:
            for number, page in enumerate(tiff.pages):
                if number == MOST_PAGES:
                    raise ImageError(f"{path}: expected at most {MOST_PAGES} pages, found more")
                _check_page(path, page, path.stat().st_size)
    except DAMAGED as error:
        raise ImageError(
            f"{path}: is no slide that OpenSlide reads, and no sound TIFF file ({error}); copy "
            "the slide again"
        ) from error
    finally:
        logger.disabled = was


def _check_page(path: Path, page: Any, num_bytes: int) -> None:
    for tag in page.tags:
        if tag.valueoffset + tag.valuebytecount > num_bytes:
            raise ImageError(f"{path}: its tag {tag.name} lies beyond its end; copy the file again")
    tile = page.tilewidth * page.tilelength if page.is_tiled else 0
    if tile > LARGEST_TILE_PIXELS:
        raise ImageError(
            f"{path}: states tiles of {page.tilewidth}×{page.tilelength} pixels, expected at most "
            f"{LARGEST_TILE_PIXELS:,} pixels; convert the slide again"
        )
    samples = max(page.samplesperpixel, 1)
    require_plausible_size(path, page.imagewidth * page.imagelength * samples, num_bytes)
    wanted = _num_segments(page)
    if not (len(page.dataoffsets) == len(page.databytecounts) == wanted):
        raise ImageError(
            f"{path}: expected {wanted:,} tiles or strips, found {len(page.dataoffsets):,} and "
            f"sizes of {len(page.databytecounts):,}; copy the file again"
        )
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        if length and offset + length > num_bytes:
            raise ImageError(f"{path}: is cut short: pixels lie beyond its end; copy it again")


def _num_segments(page: Any) -> int:
    width, height = (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, 0)
    height = height or min(page.rowsperstrip or page.imagelength, page.imagelength)
    if min(width, height) < 1:
        raise ValueError(f"tiles of {width}×{height} pixels")
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    return -(-page.imagewidth // width) * -(-page.imagelength // height) * planes
