"""Where in a breast a crop without a lesion is taken, so that nothing but the lesion is missing.

For each lesion one centre in the same film. A network must not be able to tell the two classes by
where they lie: what of the breast's outline and of the film's border shows in the lesion's field
shows as far away in the other, and of the places that fit, one whose surroundings are about as
bright is taken, since lesions are found more often in dense tissue. No pixel of any lesion of the
breast lies in the field. All this is decided on a thumbnail of 1 mm, once for all resolutions.
"""

import numpy as np
from scipy import ndimage

from mlp_med.imaging.breast import Thumbnail, breast_of
from tfds_builders.hashing import hash_fraction

FIELD_MM = 51.2
# Beyond the corner of the field nothing of an edge shows.
REACH_MM = FIELD_MM / np.sqrt(2)
EDGE_TOLERANCES_MM = (4.0, 8.0)  # the second where nothing fits the first
# Of the places that fit at the edges, so many are drawn, and the likest of them is taken.
NUM_DRAWN = 64
APART_MM = 15.0  # from each other, where several lesions share a film


class Places:
    """The places of one film where a field without a lesion fits.

    Args:
        film: its thumbnail.
        lesions: bool [rows, columns], where any lesion of the breast lies.
    """

    def __init__(self, film: Thumbnail, lesions: np.ndarray):
        self._film = film
        breast = breast_of(film)
        self._to_edges = _distances(breast, film.step_mm)
        self._around = _surroundings(film)
        half = int(np.ceil(FIELD_MM / 2 / film.step_mm)) + 1
        self._free = breast & ~ndimage.maximum_filter(lesions, size=2 * half + 1)

    def like(self, lesion_mm: np.ndarray, lesion_id: str) -> np.ndarray | None:
        """A centre (x, y) in mm whose field is like that around a lesion; None if there is none.

        Which one depends on the film and the lesion's id alone; it is not offered again.
        """
        row, column = self._film.index(lesion_mm)
        off = np.abs(self._to_edges - self._to_edges[:, row, column, None, None]).max(axis=0)
        fits = np.zeros((0, 2), int)
        for tolerance in EDGE_TOLERANCES_MM:
            if not len(fits):
                fits = np.argwhere(self._free & (off <= tolerance))
        if not len(fits):
            return None
        order = np.argsort([hash_fraction(f"{r} {c}", lesion_id) for r, c in fits.tolist()])
        drawn = fits[order[:NUM_DRAWN]]
        differences = np.abs(self._around[tuple(drawn.T)] - self._around[row, column])
        r, c = drawn[int(differences.argmin())]
        centre = self._film.centre_mm(r, c)
        # Not at the same place within a block: a lesion's centre is anywhere in its own.
        jitter = [hash_fraction(f"{lesion_id} {axis}", "jitter") - 0.5 for axis in "xy"]
        self._take(centre)
        return centre + np.array(jitter) * self._film.step_mm

    def _take(self, centre_mm: np.ndarray) -> None:
        row, column = self._film.index(centre_mm)
        reach = int(np.ceil(APART_MM / self._film.step_mm))
        top, left = max(row - reach, 0), max(column - reach, 0)
        self._free[top : row + reach + 1, left : column + reach + 1] = False


def _distances(breast: np.ndarray, step_mm: float) -> np.ndarray:
    """Mm to the breast's outline and to the film's border, up to `REACH_MM`; [2, rows, columns].

    Beyond its border the film is taken to go on as it is there, so that a breast cut off by the
    border has no outline there.
    """
    margin = int(np.ceil(REACH_MM / step_mm))
    wide = np.pad(breast, margin, mode="edge")
    to_outline = ndimage.distance_transform_edt(wide) * step_mm
    inner = slice(margin, -margin)
    rows, columns = (np.arange(length) + 0.5 for length in breast.shape)
    down, along = (np.minimum(axis, len(axis) - axis) for axis in (rows, columns))
    to_border = np.minimum(down[:, None], along[None, :]) * step_mm
    return np.minimum(np.stack([to_outline[inner, inner], to_border]), REACH_MM)


def _surroundings(film: Thumbnail) -> np.ndarray:
    """Mean of the field about each block but for its central half, which a lesion would fill."""
    whole, core = (max(1, round(FIELD_MM * part / film.step_mm)) for part in (1, 0.5))
    dark = float(film.pixels.min())
    sums = [
        ndimage.uniform_filter(film.pixels, size, mode="constant", cval=dark) * size**2
        for size in (whole, core)
    ]
    return (sums[0] - sums[1]) / (whole**2 - core**2)
