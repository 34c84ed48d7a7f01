"""What a crop must keep: the same object is drawn into scans of many geometries and rendered."""

from collections.abc import Callable
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.imaging.crop import AIR_HU, crop_size, render_crop, render_crops
from mlp_med.imaging.volume import Volume

RESOLUTIONS = [0.625, 1.25, 2.5, 5.0]
SPACING = (0.9, 0.85, 1.4)
CENTRE = np.array([3.2, -41.7, 120.4])
Field = Callable[[np.ndarray], np.ndarray]  # HU at physical points [..., 3]


def scan(
    field: Field,
    spacing: tuple[float, float, float] = SPACING,
    direction: np.ndarray | None = None,
    width_mm: float = 84.0,
) -> Volume:
    """Samples `field` on a grid whose middle lies near, but not on, CENTRE."""
    direction = np.eye(3) if direction is None else direction
    size = np.ceil(width_mm / np.array(spacing)).astype(int)
    middle = CENTRE + np.array([0.21, -0.13, 0.17])
    origin = middle - direction @ ((size - 1) / 2 * spacing)
    z, y, x = np.meshgrid(*(np.arange(n) for n in size[::-1]), indexing="ij")
    points = np.stack([x, y, z], axis=-1) * spacing @ direction.T + origin
    return Volume(field(points).astype(np.float32), spacing, tuple(origin), direction)


def points_of(resolution: float, extent: float = 40.0) -> np.ndarray:
    size = crop_size(extent, resolution)
    axis = (np.arange(size) - (size - 1) / 2) * resolution
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.stack([x, y, z], axis=-1) + CENTRE


def blobs(points: np.ndarray) -> np.ndarray:
    """A smooth field without symmetry, so that every wrong flip or permutation shows."""
    values = np.full(points.shape[:-1], -850.0)
    for offset, sigma, height in [
        ((6, 1, -3), 5.0, 700.0),
        ((-7, 4, 6), 6.0, 500.0),
        ((1, -9, 2), 7.0, 300.0),
    ]:
        distance = np.linalg.norm(points - CENTRE - np.array(offset), axis=-1)
        values += height * np.exp(-0.5 * (distance / sigma) ** 2)
    return values


def sphere(radius: float) -> Field:
    """A ball of 0 HU in −1000 HU, its edge as sharp as a voxel's partial volume."""

    def field(points: np.ndarray) -> np.ndarray:
        distance = np.linalg.norm(points - CENTRE, axis=-1)
        return np.clip((radius - distance) / 0.9 + 0.5, 0, 1) * 1000 - 1000

    return field


def rotation(*degrees: float) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


SIGNED_PERMUTATIONS = [
    np.eye(3)[:, list(order)] * signs
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(*[st.floats(-8, 8)] * 3),
    st.sampled_from([(0.6, 0.6, 1.0), (0.75, 0.75, 2.5), (2.0, 0.8, 0.7)]),
)
def test_a_linear_ramp_stays_linear(slope: tuple, spacing: tuple):
    def ramp(points: np.ndarray) -> np.ndarray:
        return (points - CENTRE) @ np.array(slope)

    for resolution, crop in zip(
        RESOLUTIONS, render_crops(scan(ramp, spacing), CENTRE, 40, RESOLUTIONS), strict=True
    ):
        np.testing.assert_allclose(crop, ramp(points_of(resolution)), atol=0.02)


@pytest.mark.parametrize(
    "direction", [np.eye(3), rotation(20, 10, -35)], ids=["aligned", "oblique"]
)
@pytest.mark.parametrize("radius", [4.0, 8.0])
def test_a_sphere_keeps_its_volume_and_its_centre(radius: float, direction: np.ndarray):
    volume = scan(sphere(radius), direction=direction, width_mm=60)
    expected = 4 / 3 * np.pi * radius**3
    for resolution in RESOLUTIONS:
        mass = (render_crop(volume, CENTRE, 40, resolution).astype(float) + 1000) / 1000
        assert mass.sum() * resolution**3 == pytest.approx(expected, rel=0.03)
        centroid = np.einsum("zyx,zyxp->p", mass, points_of(resolution)) / mass.sum()
        assert np.abs(centroid - CENTRE).max() < 0.1 * resolution


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("direction", [np.eye(3), rotation(0, 0, 30)], ids=["aligned", "oblique"])
def test_a_wave_above_the_coarse_nyquist_limit_vanishes_and_one_below_stays(axis, direction):
    spacing = (0.7, 0.7, 0.7)

    def amplitude(wavelength: float, resolution: float) -> float:
        def wave(points: np.ndarray) -> np.ndarray:
            return 500 * np.cos(2 * np.pi * (points - CENTRE)[..., axis] / wavelength + 0.4)

        crop = render_crop(scan(wave, spacing, direction, width_mm=44), CENTRE, 30, resolution)
        return float(np.abs(crop[tuple([slice(2, -2)] * 3)]).max()) / 500

    # Well above: the Nyquist limit of 2.5 mm is a wavelength of 5 mm, that of 5 mm is 10 mm.
    assert amplitude(3.4, 2.5) < 0.03
    assert amplitude(6.8, 5.0) < 0.03
    assert amplitude(2.6, 5.0) < 0.03
    # Well below, and what the fine crop keeps of what the coarse one may not have.
    assert amplitude(10.0, 2.5) > 0.93
    assert amplitude(20.0, 5.0) > 0.85  # sampled peaks may miss the crest by a little
    assert amplitude(3.4, 0.625) > 0.93


@pytest.mark.parametrize("direction", SIGNED_PERMUTATIONS)
def test_flipped_and_permuted_directions_give_the_same_crop(direction: np.ndarray):
    spacing = (1.2, 1.2, 1.2)
    volume, straight = scan(blobs, spacing, direction), scan(blobs, spacing)
    for resolution in (1.25, 5.0):
        crop = render_crop(volume, CENTRE, 40, resolution)
        np.testing.assert_allclose(crop, render_crop(straight, CENTRE, 40, resolution), atol=1.0)


def test_a_rewritten_scan_with_the_same_voxels_gives_the_same_crop():
    """Flipping the array and the direction together is the same scan: equal to rounding."""
    volume = scan(blobs)
    flipped = Volume(
        np.ascontiguousarray(volume.voxels[::-1, :, ::-1]),
        volume.spacing_mm,
        (
            volume.origin_mm[0] + (volume.size[0] - 1) * SPACING[0],
            volume.origin_mm[1],
            volume.origin_mm[2] + (volume.size[2] - 1) * SPACING[2],
        ),
        np.diag([-1.0, 1.0, -1.0]),
    )
    permuted = Volume(
        np.ascontiguousarray(volume.voxels.transpose(1, 2, 0)),  # array axes now (y, x, z)
        (SPACING[2], SPACING[0], SPACING[1]),
        volume.origin_mm,
        np.eye(3)[:, [2, 0, 1]],
    )
    for resolution in RESOLUTIONS:
        expected = render_crop(volume, CENTRE, 40, resolution)
        for same in (flipped, permuted):
            np.testing.assert_allclose(
                render_crop(same, CENTRE, 40, resolution), expected, atol=1e-2
            )


@pytest.mark.parametrize("direction", [rotation(0, 0, 45), rotation(25, -30, 60)])
def test_a_rotated_scan_of_the_same_object_gives_the_same_crop(direction: np.ndarray):
    crops = render_crops(scan(blobs, direction=direction), CENTRE, 40, RESOLUTIONS)
    expected = render_crops(scan(blobs), CENTRE, 40, RESOLUTIONS)
    for crop, same in zip(crops, expected, strict=True):
        np.testing.assert_allclose(crop, same, atol=1.0)


def test_the_oblique_way_agrees_with_the_aligned_way():
    straight, leaning = scan(blobs), scan(blobs, direction=rotation(0.08, 0.08, 0.08))
    assert np.abs(leaning.direction - np.eye(3)).max() > 1e-3  # oblique indeed
    for resolution in RESOLUTIONS:
        np.testing.assert_allclose(
            render_crop(leaning, CENTRE, 40, resolution),
            render_crop(straight, CENTRE, 40, resolution),
            atol=1.0,
        )


def test_both_ways_fade_into_air_alike_where_the_scan_ends():
    def tissue(points: np.ndarray) -> np.ndarray:
        return np.full(points.shape[:-1], 40.0)

    straight = scan(tissue, width_mm=24)
    leaning = scan(tissue, direction=rotation(0.08, 0.08, 0.08), width_mm=24)
    for resolution, tolerance in [(2.5, 25), (5.0, 12)]:
        np.testing.assert_allclose(
            render_crop(leaning, CENTRE, 40, resolution),
            render_crop(straight, CENTRE, 40, resolution),
            atol=tolerance,
        )


@pytest.mark.parametrize("direction", [np.eye(3), rotation(0, 0, 30)], ids=["aligned", "oblique"])
def test_outside_the_scan_is_air(direction: np.ndarray):
    volume = scan(lambda points: np.full(points.shape[:-1], 40.0), direction=direction, width_mm=20)
    for resolution in RESOLUTIONS:
        far = render_crop(volume, CENTRE + 500, 40, resolution)
        assert far.shape == (crop_size(40, resolution),) * 3
        assert far.dtype == np.float32
        assert (far == AIR_HU).all()
    crop = render_crop(volume, CENTRE, 60, 1.25)
    assert crop[24, 24, 24] == pytest.approx(40, abs=5)
    assert np.abs(crop[:3] - AIR_HU).max() < 5
    assert render_crop(volume, CENTRE + 500, 40, 5.0, fill=0.0).max() == 0


def test_a_constant_scan_of_air_shows_no_border():
    volume = scan(lambda points: np.full(points.shape[:-1], AIR_HU), width_mm=20)
    for crop in render_crops(volume, CENTRE, 40, RESOLUTIONS):
        assert (crop == AIR_HU).all()


def test_padding_of_the_scanner_counts_as_air():
    def circle(points: np.ndarray) -> np.ndarray:
        return np.where(points[..., 0] > CENTRE[0] + 5, -3024.0, AIR_HU)

    for crop in render_crops(scan(circle), CENTRE, 40, RESOLUTIONS):
        assert (crop == AIR_HU).all()


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(RESOLUTIONS[1:]), st.sampled_from([0, 1, 2]), st.sampled_from([-1, 1, 2]))
def test_a_crop_shifted_by_voxels_is_the_shifted_crop(resolution: float, axis: int, shift: int):
    volume = NOISE
    offset = np.zeros(3)
    offset[axis] = shift * resolution
    crop = render_crop(volume, CENTRE, 40, resolution)
    moved = render_crop(volume, CENTRE + offset, 40, resolution)
    size, along = crop.shape[0], 2 - axis
    kept = np.take(crop, range(max(shift, 0), size + min(shift, 0)), axis=along)
    seen = np.take(moved, range(max(-shift, 0), size + min(-shift, 0)), axis=along)
    np.testing.assert_allclose(seen, kept, atol=0.05)


def test_several_resolutions_at_once_are_those_rendered_singly():
    for resolution, crop in zip(
        RESOLUTIONS, render_crops(NOISE, CENTRE, 40, RESOLUTIONS), strict=True
    ):
        np.testing.assert_allclose(crop, render_crop(NOISE, CENTRE, 40, resolution), atol=0.01)


def test_the_mean_of_noise_is_the_same_at_every_resolution():
    """Voxels are averaged, not picked: the noise falls as the voxel grows."""
    deviations = [crop.std() for crop in render_crops(NOISE, CENTRE, 40, RESOLUTIONS)]
    assert deviations == sorted(deviations, reverse=True)
    assert deviations[-1] < 0.15 * deviations[0]


@pytest.mark.parametrize(("extent", "spacing"), [(40, 0.7), (40, -1), (0, 1), (40.01, 5)])
def test_an_extent_that_is_no_whole_number_of_voxels_is_refused(extent: float, spacing: float):
    with pytest.raises(ValueError, match=f"found {extent} mm at {spacing} mm"):
        render_crop(NOISE, CENTRE, extent, spacing)


def test_a_centre_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite centre"):
        render_crop(NOISE, (0.0, float("nan"), 0.0), 40, 5)


def noise(points: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).normal(-400, 100, points.shape[:-1])


NOISE = scan(noise)
