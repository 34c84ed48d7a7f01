"""The texture of breast tissue in a mammogram: noise with a power-law spectrum.

The power spectrum of mammograms falls as f^-β with β near 3 (Burgess, Jacobson & Judy, "Human
observer detection experiments with mammograms and power-law noise", Medical Physics 28, 2001).
Waves longer than `SPLIT_MM` are drawn for each film on a coarse grid; the shorter ones, which no
one tells apart from film to film, come from one periodic block at a random offset and mirroring.
"""

from functools import cache

import numpy as np
import scipy.fft
from PIL import Image

EXPONENT = 3.0
PIXEL_MM = 0.0435
COARSE_PIXELS = 8  # native pixels a coarse one
BLOCK_PIXELS = 1024
# Where the coarse grid hands over to the block, cycles/mm: half of the coarse grid's Nyquist limit.
HANDOVER = 0.25 / (COARSE_PIXELS * PIXEL_MM)
# Waves longer than this are no texture but the breast itself.
LONGEST_MM = 40.0


def draw_parenchyma(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Texture of one film, float32 [rows, columns], of the same expected variance in every film."""
    rows, columns = (-(-length // COARSE_PIXELS) + 4 for length in shape)
    # Wider than the film, so that its opposite borders are not alike.
    size = scipy.fft.next_fast_len(2 * max(rows, columns))
    coarse = _spectral(rng, size, COARSE_PIXELS * PIXEL_MM, long_waves=True)[:rows, :columns]
    wide = Image.fromarray(coarse).resize(
        (columns * COARSE_PIXELS, rows * COARSE_PIXELS), Image.Resampling.BICUBIC
    )
    texture = np.asarray(wide)[: shape[0], : shape[1]].copy()
    down, along, mirror = (int(v) for v in rng.integers((BLOCK_PIXELS, BLOCK_PIXELS, 4)))
    block = _block()[:: (-1 if mirror & 1 else 1), :: (-1 if mirror & 2 else 1)]
    block = np.roll(block, (down, along), axis=(0, 1))
    for top in range(0, shape[0], BLOCK_PIXELS):
        for left in range(0, shape[1], BLOCK_PIXELS):
            part = texture[top : top + BLOCK_PIXELS, left : left + BLOCK_PIXELS]
            part += block[: part.shape[0], : part.shape[1]]
    return texture


@cache
def _block() -> np.ndarray:
    rng = np.random.default_rng(0x6D616D6D6F)
    return _spectral(rng, BLOCK_PIXELS, PIXEL_MM, long_waves=False)


def _spectral(
    rng: np.random.Generator, size: int, step_mm: float, *, long_waves: bool
) -> np.ndarray:
    """Float32 [size, size] whose power spectrum is f^-β mm², of the waves on one side of HANDOVER.

    Both sides have the same absolute scale, so that their sum is one power law.
    """
    white = rng.standard_normal((size, size), dtype=np.float32)
    f = np.hypot(scipy.fft.fftfreq(size, step_mm)[:, None], scipy.fft.rfftfreq(size, step_mm)[None])
    longest = 1 / LONGEST_MM
    amplitude = np.maximum(f, longest) ** (-EXPONENT / 2)
    share = 1 / (1 + (f / HANDOVER) ** 8)  # of the power; the other side has the rest
    amplitude *= np.sqrt(share if long_waves else 1 - share) / step_mm
    amplitude[0, 0] = 0
    field = scipy.fft.irfft2(scipy.fft.rfft2(white) * amplitude.astype(np.float32), s=white.shape)
    return (field / _deviation()).astype(np.float32)


@cache
def _deviation() -> float:
    """Of the whole power law, by its integral over the plane: ∫ f^-β 2πf df, from the longest wave.

    Below the longest wave the spectrum is flat.
    """
    longest, finest = 1 / LONGEST_MM, 0.5 / PIXEL_MM
    flat = np.pi * longest ** (2 - EXPONENT)
    power = 2 * np.pi * (finest ** (2 - EXPONENT) - longest ** (2 - EXPONENT)) / (2 - EXPONENT)
    return float(np.sqrt(flat + power))
