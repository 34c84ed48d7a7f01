"""Paints a planned slide: haematoxylin and eosin as optical densities, then RGB.

Stain colours after Ruifrok & Johnston 2001, "Quantification of histochemical staining by color
deconvolution", Anal. Quant. Cytol. Histol. 23, 291-299.
"""

from functools import cache

import numpy as np
import scipy.fft
from PIL import Image, ImageDraw
from scipy import ndimage

from mlp_med.phantoms.slide_plan import SlidePlan, smooth_field

# Absorption of red, green and blue.
HAEMATOXYLIN = np.array([0.650, 0.704, 0.286])
EOSIN = np.array([0.072, 0.990, 0.105])
GLASS = 243.0
NOISE = 2.5  # grey levels, of the camera
NUCLEUS_DENSITY = 0.85
RIM_DENSITY = 0.25  # more at a nucleus' border
EDGE_UM = 0.5
CHROMATIN_DENSITY = 1.1
NUCLEOLUS_SIGMA_UM = 0.64
NUM_SPECKS = 3
SPECK_SIGMA_UM = NUCLEOLUS_SIGMA_UM / np.sqrt(NUM_SPECKS)  # so that both absorb as much
CYTOPLASM = (0.10, 0.42)  # haematoxylin and eosin between nuclei
TEXTURE_PIXELS = 1024
FIBRE_SCALES_UM = (0.9, 5.0)


def paint_slide(plan: SlidePlan) -> np.ndarray:
    """The pixels of level 0, uint8 RGB [y, x, 3]."""
    rng = np.random.default_rng(plan.texture_seed)
    width, height = (round(edge / plan.pixel_um) for edge in plan.size_um)
    tissue = _soft_mask(plan.tissue, (height, width), plan.pixel_um)
    stroma = _stroma(rng, plan, (height, width))
    haematoxylin = CYTOPLASM[0] * stroma
    eosin = CYTOPLASM[1] * stroma
    _open_lumina(plan, haematoxylin, eosin)
    _add_nuclei(rng, plan, haematoxylin)
    haematoxylin *= tissue * np.float32(plan.stain[0])
    eosin *= tissue * np.float32(plan.stain[1])
    return _to_rgb(rng, plan, haematoxylin, eosin)


def _to_rgb(
    rng: np.random.Generator, plan: SlidePlan, haematoxylin: np.ndarray, eosin: np.ndarray
) -> np.ndarray:
    """Beer–Lambert for each colour, and the camera's noise."""
    pixels = np.empty((*haematoxylin.shape, 3), np.uint8)
    for channel in range(3):
        blue = channel == 2
        h = HAEMATOXYLIN[channel] + plan.stain[2] * (1 if blue else -0.5)
        e = EOSIN[channel] + plan.stain[3] * (1 if blue else -0.5)
        corner = _corner(rng)
        for rows in _strips(haematoxylin.shape[0]):
            values = np.float32(-h) * haematoxylin[rows] - np.float32(e) * eosin[rows]
            np.exp(values, out=values)
            values *= np.float32(GLASS)
            values += np.float32(NOISE) * _repeated(_texture(0), corner, rows, values.shape[1])
            pixels[rows, :, channel] = np.clip(np.rint(values, out=values), 0, 255)
    return pixels


def _soft_mask(outline_um: np.ndarray, shape: tuple[int, int], pixel_um: float) -> np.ndarray:
    """1 within an outline and 0 without, over a few pixels; float32 [y, x]."""
    factor = 4
    image = Image.new("L", (shape[1] // factor + 1, shape[0] // factor + 1))
    points = [tuple(point) for point in (outline_um / pixel_um / factor).tolist()]
    ImageDraw.Draw(image).polygon(points, fill=255)
    coarse = ndimage.gaussian_filter(np.asarray(image, np.float32) / 255, 2.0)
    return _enlarged(coarse, shape, factor)


def _stroma(rng: np.random.Generator, plan: SlidePlan, shape: tuple[int, int]) -> np.ndarray:
    """How much there is between the nuclei, about 1: drifts over the slide, and fibres."""
    factor = 64
    coarse_shape = (shape[0] // factor + 2, shape[1] // factor + 2)
    y, x = np.indices(coarse_shape).reshape(2, -1) * factor * plan.pixel_um
    drift = smooth_field(rng, plan.size_um, 200, np.stack([x, y], axis=1))
    values = _enlarged((1 + 0.12 * drift).reshape(coarse_shape).astype(np.float32), shape, factor)
    for scale_um in FIBRE_SCALES_UM:
        texture = _texture(round(scale_um / plan.pixel_um * 10))
        corner = _corner(rng)
        for rows in _strips(shape[0]):
            values[rows] += np.float32(0.13) * _repeated(texture, corner, rows, shape[1])
    return np.maximum(values, 0, out=values)


def _open_lumina(plan: SlidePlan, haematoxylin: np.ndarray, eosin: np.ndarray) -> None:
    for x, y, radius in plan.lumina:
        window, dx, dy = _window(x, y, radius + 1, plan.pixel_um, haematoxylin.shape)
        distance = np.hypot(dx[None, :], dy[:, None])
        tissue = np.clip((distance - radius) / 1.0 + 0.5, 0.12, 1).astype(np.float32)
        haematoxylin[window] *= tissue
        eosin[window] *= tissue


def _add_nuclei(rng: np.random.Generator, plan: SlidePlan, haematoxylin: np.ndarray) -> None:
    nuclei = plan.nuclei
    number = len(nuclei.centre_um)
    place = rng.uniform(size=(number, NUM_SPECKS, 2))
    strength = np.exp(rng.normal(0, 0.15, number))
    chromatin = CHROMATIN_DENSITY * np.exp(rng.normal(0, 0.3, number))
    cosines, sines = np.cos(nuclei.angle), np.sin(nuclei.angle)
    for n, ((x, y), (a, b)) in enumerate(zip(nuclei.centre_um, nuclei.radii_um, strict=True)):
        window, dx, dy = _window(x, y, a + EDGE_UM, plan.pixel_um, haematoxylin.shape)
        c, s = cosines[n], sines[n]
        along = (c * dx)[None, :] + (s * dy)[:, None]
        across = (-s * dx)[None, :] + (c * dy)[:, None]
        distance = np.sqrt((along / a) ** 2 + (across / b) ** 2)
        cover = np.clip((1 - distance) * (b / EDGE_UM) + 0.5, 0, 1)
        density = NUCLEUS_DENSITY + RIM_DENSITY * (distance * distance - 0.5)
        # Even in the disc, by angle and the root of the radius.
        turn, reach = 2 * np.pi * place[n, :, 0], 0.72 * np.sqrt(place[n, :, 1])
        u, v = a * reach * np.cos(turn), b * reach * np.sin(turn)
        sigma = SPECK_SIGMA_UM
        if nuclei.has_nucleolus[n]:
            u, v, sigma = 0.6 * u[:1], 0.6 * v[:1], NUCLEOLUS_SIGMA_UM
        speck_x, speck_y = c * u - s * v, s * u + c * v
        in_x = np.exp(-((dx - speck_x[:, None]) ** 2) / (2 * sigma**2))
        in_y = np.exp(-((dy - speck_y[:, None]) ** 2) / (2 * sigma**2))
        density = density + chromatin[n] * (in_y.T @ in_x)
        haematoxylin[window] += (strength[n] * cover * density).astype(np.float32)


def _window(
    x: float, y: float, reach_um: float, pixel_um: float, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """The pixels around a point, and their centres' distances from it in µm along x and y."""
    ranges, distances = [], []
    for place, length in ((y, shape[0]), (x, shape[1])):
        start = max(int((place - reach_um) / pixel_um), 0)
        stop = max(min(int((place + reach_um) / pixel_um) + 2, length), start)
        ranges.append(slice(start, stop))
        distances.append((np.arange(start, stop) + 0.5) * pixel_um - place)
    return (ranges[0], ranges[1]), distances[1], distances[0]


def _enlarged(coarse: np.ndarray, shape: tuple[int, int], factor: int) -> np.ndarray:
    """Bilinear, float32 [y, x]."""
    size = (coarse.shape[1] * factor, coarse.shape[0] * factor)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image)[: shape[0], : shape[1]].copy()


@cache
def _texture(tenths_of_pixels: int) -> np.ndarray:
    """Periodic noise of unit variance and a Gaussian spectrum, float32; white for scale 0."""
    rng = np.random.default_rng([0x736C6964, tenths_of_pixels])
    white = rng.standard_normal((TEXTURE_PIXELS, TEXTURE_PIXELS), dtype=np.float32)
    if not tenths_of_pixels:
        return white
    sigma = tenths_of_pixels / 10
    frequency = np.hypot(
        scipy.fft.fftfreq(TEXTURE_PIXELS)[:, None], scipy.fft.rfftfreq(TEXTURE_PIXELS)[None]
    )
    amplitude = np.exp(-2 * (np.pi * sigma * frequency) ** 2).astype(np.float32)
    block = scipy.fft.irfft2(scipy.fft.rfft2(white) * amplitude, s=white.shape)
    return (block / block.std()).astype(np.float32)


def _strips(height: int) -> list[slice]:
    """Rows that are painted at once: what is computed on the way then stays small."""
    return [slice(top, min(top + 128, height)) for top in range(0, height, 128)]


def _corner(rng: np.random.Generator) -> np.ndarray:
    """A random place in a texture: (y, x)."""
    return rng.integers(TEXTURE_PIXELS, size=2)


def _repeated(texture: np.ndarray, corner: np.ndarray, rows: slice, width: int) -> np.ndarray:
    """Some rows, `width` wide, of a texture that repeats itself and ends a period at `corner`."""
    y = (np.arange(rows.start, rows.stop) - corner[0]) % TEXTURE_PIXELS
    x = (np.arange(width) - corner[1]) % TEXTURE_PIXELS
    return texture[y[:, None], x]
