"""Noise with the texture of a reconstruction kernel, cheap enough for every slice of every scan."""

from functools import cache

import numpy as np
import scipy.fft

# A block of noise slices is filtered once a process; each slice of a scan is a block slice at its
# own random offset (the block is periodic) and mirroring.
BLOCK_SLICES = 20
BLOCK_PIXELS = 512
# Peak of the noise power spectrum in cycles a pixel, for a smooth and a sharp kernel: at 0.7 mm
# pixels about 0.25 and 0.4 cycles/mm.
PEAK_FREQUENCY = {"smooth": 0.17, "sharp": 0.27}
# Neighbouring slices share a little of their raw data (spiral interpolation).
NEIGHBOUR_SHARE = 0.3


@cache
def noise_block(kernel: str) -> np.ndarray:
    """Float32 [BLOCK_SLICES, y, x] of unit variance, band-limited as filtered back-projection.

    The power spectrum rises with frequency (the ramp filter) and falls with the kernel's
    apodisation: f² exp(−(f / f₀)²), which peaks at f₀ (Riederer, Pelc & Chesler, "The noise power
    spectrum in computed X-ray tomography", Phys. Med. Biol. 23, 1978, for the rise).
    """
    rng = np.random.default_rng([0x6E6F6973, sorted(PEAK_FREQUENCY).index(kernel)])
    white = rng.standard_normal((BLOCK_SLICES, BLOCK_PIXELS, BLOCK_PIXELS), dtype=np.float32)
    vertical = scipy.fft.fftfreq(BLOCK_PIXELS)[:, None]
    horizontal = scipy.fft.rfftfreq(BLOCK_PIXELS)[None]
    relative = np.hypot(vertical, horizontal) / PEAK_FREQUENCY[kernel]
    # A whiff of low frequencies stays: streaks and scatter are not free of them.
    amplitude = ((relative + 0.05) * np.exp(-(relative**2) / 2)).astype(np.float32)
    block = scipy.fft.irfft2(scipy.fft.rfft2(white) * amplitude, s=white.shape[1:])
    return (block / block.std()).astype(np.float32)


class SliceNoise:
    """Unit noise for consecutive slices of one scan, float32 [num_pixels, num_pixels] each."""

    def __init__(self, rng: np.random.Generator, kernel: str, num_pixels: int):
        if num_pixels > BLOCK_PIXELS:
            raise ValueError(f"noise is prepared for up to {BLOCK_PIXELS} pixels, not {num_pixels}")
        self._rng = rng
        self._block = noise_block(kernel)
        self._num_pixels = num_pixels
        self._upcoming = self._draw()

    def next_slice(self) -> np.ndarray:
        """The next slice's noise; it shares `NEIGHBOUR_SHARE` with the one after it."""
        current, self._upcoming = self._upcoming, self._draw()
        own = np.float32(1 / np.hypot(1, NEIGHBOUR_SHARE))
        return current * own + self._upcoming * (own * np.float32(NEIGHBOUR_SHARE))

    def _draw(self) -> np.ndarray:
        which, top, left, mirror = self._rng.integers((BLOCK_SLICES, BLOCK_PIXELS, BLOCK_PIXELS, 4))
        whole = np.roll(self._block[which], (top, left), axis=(0, 1))
        part = whole[: self._num_pixels, : self._num_pixels]
        return part[:: (-1 if mirror & 1 else 1), :: (-1 if mirror & 2 else 1)]
