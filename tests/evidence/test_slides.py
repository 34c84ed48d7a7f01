import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from mlp_med.errors import EvidenceError
from mlp_med.evidence.froc import froc
from mlp_med.evidence.lesions import ISOLATED_BELOW_UM, MERGE_UM, Lesions, find_lesions
from mlp_med.evidence.slides import (
    CAMELYON16_RATES,
    highest_patch_scores,
    match_slide_marks,
    slide_auc,
)

PIXEL_UM = 7.776


def disc(shape: tuple[int, int], centre_um: tuple[float, float], diameter_um: float) -> np.ndarray:
    y, x = (np.indices(shape) + 0.5) * PIXEL_UM
    return np.hypot(x - centre_um[0], y - centre_um[1]) < diameter_um / 2


def marks(*rows: tuple[str, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["slide", "x_um", "y_um", "probability"])


@pytest.fixture(scope="module")
def two_lesions() -> Lesions:
    """A macrometastasis at (600, 500) and isolated cells at (1500, 500)."""
    shape = (130, 260)
    return find_lesions(disc(shape, (600, 500), 500) | disc(shape, (1500, 500), 100), PIXEL_UM)


@pytest.mark.parametrize("diameter_um", [120, 180, 230, 400])
def test_a_lesion_below_200_um_is_of_isolated_cells(diameter_um):
    found = find_lesions(disc((130, 130), (500, 500), diameter_um), PIXEL_UM)
    assert len(found.major_axis_um) == 1
    assert found.major_axis_um[0] == pytest.approx(diameter_um + MERGE_UM, abs=2 * PIXEL_UM)
    assert bool(found.isolated[0]) == (diameter_um + MERGE_UM < ISOLATED_BELOW_UM)


@pytest.mark.parametrize(("gap_um", "number"), [(50, 1), (110, 2)])
def test_areas_nearer_than_75_um_are_one_lesion(gap_um, number):
    shape, radius = (130, 260), 150
    left = disc(shape, (500, 500), 2 * radius)
    right = disc(shape, (500 + 2 * radius + gap_um, 500), 2 * radius)
    assert len(find_lesions(left | right, PIXEL_UM).major_axis_um) == number


def test_a_hole_in_a_lesion_is_part_of_it():
    ring = disc((130, 130), (500, 500), 600) & ~disc((130, 130), (500, 500), 300)
    found = find_lesions(ring, PIXEL_UM)
    assert found.at(np.array([500.0]), np.array([500.0])) == [1]
    assert ndimage.label(found.labels == 1)[1] == 1


def test_no_annotated_tumour_is_no_lesion():
    found = find_lesions(np.zeros((20, 30), bool), PIXEL_UM)
    assert len(found.isolated) == 0
    assert found.at(np.array([50.0, -1.0, 1e9]), np.array([50.0, 5.0, 5.0])).tolist() == [0, 0, 0]


def test_diameters_of_a_part_are_those_of_the_lesions_in_it():
    tumour = disc((130, 260), (600, 500), 500) | disc((130, 260), (1500, 500), 20)
    found = find_lesions(tumour, PIXEL_UM)
    assert found.largest_diameter_um(tumour, np.s_[:, :130]) == pytest.approx(500, abs=10)
    assert found.largest_diameter_um(tumour, np.s_[:, 150:]) == pytest.approx(20, abs=10)


def test_marks_hit_by_place_and_a_lesion_counts_once_with_its_highest_score(two_lesions):
    found = match_slide_marks(
        marks(
            ("a", 600, 500, 0.3),
            ("a", 700, 500, 0.8),
            ("a", 600, 500 + 250 + 22, 0.5),  # within 37.5 µm of the outline
            ("a", 600, 500 + 250 + 50, 0.6),  # beyond
            ("a", 1500, 500, 0.9),  # isolated cells
            ("a", -5, 500, 0.2),  # off the slide
            ("b", 600, 500, 0.7),  # a slide without metastases
            ("c", 600, 500, 0.7),  # a slide that nobody asked for
        ),
        {"a": two_lesions, "b": None},
    )
    detections = found.detections
    assert detections.lesion_scores.tolist() == [0.8]
    assert detections.lesion_scans.tolist() == [0]
    assert sorted(detections.false_scores.tolist()) == [0.2, 0.6, 0.7]
    assert sorted(detections.false_scans.tolist()) == [0, 0, 1]
    assert detections.num_scans == 2
    counts = (found.num_marks, found.ignored_on_isolated, found.ignored_double)
    assert counts == (7, 1, 2)
    assert (found.num_isolated, found.unknown_slides) == (1, 1)


def test_the_score_is_the_mean_of_six_sensitivities(two_lesions):
    lesions = {"a": two_lesions, "b": two_lesions, "c": None, "d": None}
    found = match_slide_marks(
        marks(("a", 600, 500, 0.9), ("c", 1, 1, 0.8), ("d", 1, 1, 0.7), ("b", 600, 500, 0.6)),
        lesions,
    )
    result = froc(found.detections, CAMELYON16_RATES, num_bootstrap=200)
    # Half of the lesions up to ¼ false positive a slide; the other comes at ½.
    np.testing.assert_allclose(result.sensitivities, [0.5, 1, 1, 1, 1, 1])
    assert result.cpm == pytest.approx(5.5 / 6)
    assert result.cpm_low <= result.cpm <= result.cpm_high


def test_a_detector_without_marks_finds_nothing(two_lesions):
    found = match_slide_marks(marks(), {"a": two_lesions, "b": None})
    assert found.detections.lesion_scores.tolist() == [-np.inf]
    assert froc(found.detections, CAMELYON16_RATES, num_bootstrap=0).cpm == 0


def test_a_mark_without_a_place_is_refused(two_lesions):
    with pytest.raises(EvidenceError, match=r"mark 2 \(slide a\): y_um is nan"):
        match_slide_marks(marks(("a", 1, 1, 1), ("a", 1, np.nan, 1)), {"a": two_lesions})


def random_slides(number: int, seed: int) -> tuple[dict[str, float], dict[str, int]]:
    rng = np.random.default_rng(seed)
    labels = {f"test_{n:03d}": n % 3 == 0 for n in range(number)}
    scores = {name: float(np.round(rng.normal(label), 1)) for name, label in labels.items()}
    return scores, {name: int(label) for name, label in labels.items()}


def test_slide_auc_is_that_of_scikit_learn_with_ties():
    scores, labels = random_slides(129, 0)
    result = slide_auc(scores, labels)
    expected = roc_auc_score(list(labels.values()), [scores[name] for name in labels])
    assert result.auc == pytest.approx(expected)
    assert result.low < result.auc < result.high
    assert (result.num_tumour, result.num_normal) == (43, 86)
    again = slide_auc(dict(reversed(scores.items())), labels)
    assert (again.low, again.high) == (result.low, result.high)


def test_the_interval_is_as_wide_as_the_auc_differs_between_sets_of_slides():
    values = [slide_auc(*random_slides(129, seed), num_bootstrap=0).auc for seed in range(200)]
    results = [slide_auc(*random_slides(129, seed), num_bootstrap=300) for seed in range(20)]
    width = np.mean([result.high - result.low for result in results])
    assert width == pytest.approx(2 * 1.96 * np.std(values), rel=0.2)


def test_slides_that_nobody_scored_or_of_one_class_are_refused():
    scores, labels = random_slides(20, 0)
    with pytest.raises(EvidenceError, match=r"1 of 20 slides have no finite score.*test_003"):
        slide_auc({k: v for k, v in scores.items() if k != "test_003"}, labels)
    with pytest.raises(EvidenceError, match="both classes"):
        slide_auc(scores, dict.fromkeys(labels, 1))


def test_a_slide_is_as_suspicious_as_its_worst_patch():
    scores = highest_patch_scores(["a", "b", "a", "b"], np.array([0.1, 0.9, 0.7, 0.2]))
    assert scores == {"a": 0.7, "b": 0.9}
