"""Lesions on a slide, as CAMELYON16's official evaluation counts them.

An annotated area grows by 37.5 µm on every side, its holes are filled, and what then hangs together
(with its corners) is one lesion: areas nearer to each other than 75 µm, five tumour cells, are one.
A lesion whose major axis is shorter than 275 µm is one of isolated tumour cells (200 µm, the
clinical limit, and 75 µm for the growth): it need not be found, and finding it is no error
(Ehteshami Bejnordi et al. 2017, JAMA 318, 2199-2210; the challenge's evaluation code, which does
this on level 5 of a slide, so at 7.776 µm).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

MERGE_UM = 75.0
ISOLATED_BELOW_UM = 275.0
WITH_CORNERS = np.ones((3, 3), bool)


@dataclass(frozen=True, eq=False)
class Lesions:
    """The lesions of one slide.

    Attributes:
        labels: int32 [height, width], 0 where there is none, else the lesion's number from 1.
        major_axis_um: float64 [num_lesions], of the grown areas.
        pixel_um: edge of a pixel of `labels`.
    """

    labels: np.ndarray
    major_axis_um: np.ndarray
    pixel_um: float

    @property
    def isolated(self) -> np.ndarray:
        """Bool [num_lesions]: those of isolated tumour cells."""
        return self.major_axis_um < ISOLATED_BELOW_UM

    def at(self, x_um: np.ndarray, y_um: np.ndarray) -> np.ndarray:
        """The lesion at each point, int [n]; 0 for none, and off the slide."""
        column = np.floor(np.asarray(x_um) / self.pixel_um).astype(np.int64)
        row = np.floor(np.asarray(y_um) / self.pixel_um).astype(np.int64)
        height, width = self.labels.shape
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        found = np.zeros(len(column), np.int64)
        found[inside] = self.labels[row[inside], column[inside]]
        return found

    def largest_diameter_um(self, tumour: np.ndarray, part: tuple[slice, slice]) -> float:
        """Longest diameter, without the growth, of the lesions of `tumour` within a part of it.

        At least a pixel: what is annotated is not of no size.
        """
        numbers = np.unique(self.labels[part][tumour[part]])
        axes = self.major_axis_um[numbers[numbers > 0] - 1]
        return float(max(axes.max(initial=0.0) - MERGE_UM, self.pixel_um))


def find_lesions(tumour: np.ndarray, pixel_um: float) -> Lesions:
    """Finds the lesions in a mask of annotated tumour, bool [height, width]."""
    if not tumour.any():
        return Lesions(np.zeros(tumour.shape, np.int32), np.zeros(0), pixel_um)
    distance = ndimage.distance_transform_edt(~tumour)
    grown = ndimage.binary_fill_holes(distance < MERGE_UM / 2 / pixel_um)
    labels, number = ndimage.label(grown, WITH_CORNERS)
    axes = np.array(
        [_major_axis(labels[part] == n + 1) for n, part in enumerate(ndimage.find_objects(labels))]
    )
    assert len(axes) == number
    return Lesions(labels.astype(np.int32), axes * pixel_um, pixel_um)


def _major_axis(area: np.ndarray) -> float:
    """Of the ellipse with the second moments of the area's pixel centres; in pixels."""
    covariance = np.cov(np.stack(np.nonzero(area)), bias=True)
    return float(4 * np.sqrt(np.linalg.eigvalsh(covariance)[-1]))
