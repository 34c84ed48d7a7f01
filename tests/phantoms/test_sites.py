import numpy as np
import pytest

from mlp_med.phantoms.mimics import ASPECT_RANGE, core_radius, draw_mimic
from mlp_med.phantoms.scan import JITTER_MM, plan_scan
from mlp_med.phantoms.sites import END_MARGIN_MM
from mlp_med.phantoms.tubes import paint_tubes


@pytest.fixture(scope="module")
def plans():
    return [plan_scan(3, number) for number in range(5)]


def test_findings_have_the_centre_third_of_their_field_to_themselves(plans):
    for plan in plans:
        centres = np.array([finding.site.centre_mm for finding in plan.findings])
        diameters = np.array([finding.site.diameter_mm for finding in plan.findings])
        gaps = np.linalg.norm(centres[:, None] - centres, axis=2)
        gaps[np.diag_indices(len(gaps))] = np.inf
        half_diagonal = 40 / 3 / 2 * 3**0.5
        assert np.all(gaps - diameters / 2 > half_diagonal)


def test_findings_lie_in_the_lungs_and_their_fields_within_the_slices(plans):
    for plan in plans:
        centres = np.array([finding.site.centre_mm for finding in plan.findings])
        assert np.all(plan.chest.lung_depth(centres) > 0)
        assert centres[:, 2].min() >= END_MARGIN_MM
        assert centres[:, 2].max() <= plan.grid.extent_mm[2] - END_MARGIN_MM


def test_both_classes_have_the_same_places_sizes_and_marks(plans):
    def mean_by_label(value):
        kinds = [
            [value(plan, f) for plan in plans for f in plan.findings if f.is_nodule == label]
            for label in (False, True)
        ]
        error = np.sqrt(sum(np.var(k) / len(k) for k in kinds))
        return abs(np.mean(kinds[0]) - np.mean(kinds[1])) / error

    assert mean_by_label(lambda _, f: np.log(f.site.diameter_mm)) < 3
    assert mean_by_label(lambda _, f: f.site.inward is not None) < 3
    assert mean_by_label(lambda _, f: f.site.density) < 3
    assert mean_by_label(lambda p, f: p.chest.lung_depth(f.site.centre_mm[None])[0]) < 3
    off = [np.linalg.norm(f.candidate_mm - f.site.centre_mm) for p in plans for f in p.findings]
    assert max(off) <= JITTER_MM
    assert np.mean(off) > JITTER_MM / 2
    assert mean_by_label(lambda _, f: np.linalg.norm(f.candidate_mm - f.site.centre_mm)) < 3


def test_scans_have_findings_enough(plans):
    for plan in plans:
        assert 18 <= sum(finding.is_nodule for finding in plan.findings) <= 22
        assert len(plan.findings) >= 30


def test_a_mimic_has_about_the_volume_of_a_nodule_of_its_diameter(empty_box, plans):
    ratios = []
    for plan in plans[:2]:
        for finding in plan.findings:
            site = finding.site
            if site.inward is not None or site.diameter_mm > 10:
                continue
            scene = empty_box(6 * site.diameter_mm)
            scene.origin_mm[:] += site.centre_mm
            paint_tubes(scene, draw_mimic(np.random.default_rng(0), site)[0])
            x, y, z = np.indices(scene.density.shape) * 0.5 + (
                scene.origin_mm[::-1] - site.centre_mm[::-1]
            ).reshape(3, 1, 1, 1)
            near = x**2 + y**2 + z**2 < (1.2 * site.diameter_mm) ** 2
            volume = scene.density[near].sum() * 0.5**3
            ratios.append(volume / (np.pi / 6 * site.diameter_mm**3))
    assert len(ratios) > 20
    assert 0.85 < np.median(ratios) < 1.25


def test_more_arms_are_thinner_arms():
    radii = [core_radius(6.0, arms, ASPECT_RANGE["crossing"][0]) for arms in (2, 3, 4)]
    assert radii[0] > radii[1] > radii[2]
