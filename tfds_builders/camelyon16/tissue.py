"""Where on a slide there is tissue: Otsu's threshold on the saturation of an overview.

Otsu 1979, IEEE Trans. Syst. Man Cybern. 9, 62-66; on saturation as Wang et al. 2016
(arXiv 1606.05718) did for these slides. Glass is grey at any brightness, stained tissue is not.
"""

import numpy as np

NUM_BINS = 256
# Otsu's threshold splits anything, a slide of nothing but glass, or of nothing but tissue, as well.
# Glass and its dust lie below the first, haematoxylin and eosin above the second.
THRESHOLD_RANGE = (0.05, 0.2)


def tissue_mask(overview: np.ndarray) -> np.ndarray:
    """Bool [h, w] of an overview, uint8 RGB [h, w, 3]."""
    saturation = saturation_of(overview)
    return saturation > np.clip(otsu_threshold(saturation), *THRESHOLD_RANGE)


def saturation_of(rgb: np.ndarray) -> np.ndarray:
    """Saturation of the HSV model, float32 [h, w] in [0, 1]; black has none."""
    highest = rgb.max(axis=-1).astype(np.float32)
    lowest = rgb.min(axis=-1).astype(np.float32)
    return np.divide(highest - lowest, highest, out=np.zeros_like(highest), where=highest > 0)


def otsu_threshold(values: np.ndarray) -> float:
    """The threshold on values in [0, 1] that separates two classes with the most variance between.

    Returns:
        The upper border of the lower class, of 256 bins.
    """
    counts, borders = np.histogram(values, NUM_BINS, (0.0, 1.0))
    middles = (borders[:-1] + borders[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = counts.sum() - below
    sum_below = np.cumsum(counts * middles)[:-1]
    sum_above = (counts * middles).sum() - sum_below
    both = (below > 0) & (above > 0)
    if not both.any():
        return float(borders[np.flatnonzero(counts)[0] + 1])
    between = np.zeros(NUM_BINS - 1)
    means = sum_below[both] / below[both] - sum_above[both] / above[both]
    between[both] = below[both] * above[both] * means**2
    return float(borders[1 + between.argmax()])
