"""What real chest CT looks like in numbers: nodule diameters, voxel spacings, kernels.

Only summary figures are quoted; no file of LUNA16 is shipped or read.
"""

from dataclasses import dataclass

import numpy as np

# Quantiles of the 1,186 diameters in LUNA16's annotations.csv (Setio et al., "Validation,
# comparison, and combination of algorithms for automatic detection of pulmonary nodules", Medical
# Image Analysis 42, 2017; the data are CC BY 4.0).
LUNA16_DIAMETER_QUANTILES_MM = {
    0.00: 3.25,
    0.01: 3.59,
    0.05: 4.09,
    0.10: 4.40,
    0.20: 4.90,
    0.30: 5.31,
    0.40: 5.90,
    0.50: 6.43,
    0.60: 7.30,
    0.70: 8.72,
    0.80: 11.07,
    0.90: 15.48,
    0.95: 18.95,
    0.98: 22.26,
    0.99: 23.99,
    1.00: 32.27,
}

# How often each slice spacing occurs, after the slice thicknesses that Armato et al. ("The Lung
# Image Database Consortium (LIDC) and Image Database Resource Initiative (IDRI)", Medical Physics
# 38, 2011) report for LIDC-IDRI. LUNA16 leaves out slices of 3 mm and more. The few scans below
# 1 mm are counted with 1 mm, for economy, and 1.5 mm with 2 mm.
SLICE_SPACING_COUNTS = {1.0: 97, 1.25: 349, 2.0: 129, 2.5: 322}

PIXEL_SPACING_RANGE_MM = (0.6, 0.8)


@dataclass(frozen=True)
class ScanGrid:
    """The voxel grid of one scan; the centre of its first voxel is the origin of scan millimetres.

    `pixel_mm` is the spacing in plane, `slice_mm` that of slices, which are as thick as they are
    apart. Scan millimetres run with the patient's left, posterior and superior.
    """

    pixel_mm: float
    slice_mm: float
    num_pixels: int
    num_slices: int

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """From the first voxel centre to the last, (x, y, z)."""
        in_plane = (self.num_pixels - 1) * self.pixel_mm
        return in_plane, in_plane, (self.num_slices - 1) * self.slice_mm


def draw_diameters(rng: np.random.Generator, num_diameters: int) -> np.ndarray:
    """Diameters in mm from LUNA16's distribution: its quantile function, log-linear between."""
    probabilities = list(LUNA16_DIAMETER_QUANTILES_MM)
    logs = np.log(list(LUNA16_DIAMETER_QUANTILES_MM.values()))
    return np.exp(np.interp(rng.uniform(size=num_diameters), probabilities, logs))


def draw_grid(rng: np.random.Generator, coverage_mm: float, num_pixels: int = 512) -> ScanGrid:
    """Voxel spacings of one scan that covers `coverage_mm` along the patient."""
    spacings = list(SLICE_SPACING_COUNTS)
    counts = np.array(list(SLICE_SPACING_COUNTS.values()), float)
    slice_mm = float(rng.choice(spacings, p=counts / counts.sum()))
    # Scanners choose the field of view, so that pixel spacings are multiples of 10 mm / 512.
    step = 10 / 512
    low, high = (round(bound / step) for bound in PIXEL_SPACING_RANGE_MM)
    pixel_mm = float(rng.integers(low, high + 1)) * step
    return ScanGrid(pixel_mm, slice_mm, num_pixels, round(coverage_mm / slice_mm))
