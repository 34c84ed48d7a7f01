"""What must not tell a drawn metastasis from the tissue around it, and what must.

AUCs over patches of few slides scatter: bounds are about three standard errors from chance.
"""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlp_med.phantoms.slide_paint import paint_slide
from mlp_med.phantoms.slide_plan import SlidePlan, _in_metastasis, inside, plan_slide

NUM_SLIDES = 4
PIXELS = 256  # 62 or 58 µm


@pytest.fixture(scope="module")
def patches():
    """Patches [n, 256, 256, 3] of tissue on slides with metastases, labels and slides [n]."""
    images, labels, slides = [], [], []
    for number in range(NUM_SLIDES):
        plan = plan_slide(11, 1, number, has_tumour=True)
        found = _patches(plan, paint_slide(plan))
        images += found[0]
        labels += found[1]
        slides += [number] * len(found[1])
    return np.stack(images), np.array(labels), np.array(slides)


def _patches(plan: SlidePlan, pixels: np.ndarray) -> tuple[list[np.ndarray], list[bool]]:
    """All whose corners and centre are tissue, and lie in a metastasis or all outside."""
    images, labels = [], []
    for top in range(0, pixels.shape[0] - PIXELS, PIXELS):
        for left in range(0, pixels.shape[1] - PIXELS, PIXELS):
            y, x = np.meshgrid([top, top + PIXELS / 2, top + PIXELS], [0, PIXELS / 2, PIXELS])
            points = np.stack([x.ravel() + left, y.ravel()], axis=1) * plan.pixel_um
            within = _in_metastasis(points, plan.lesions, plan.cut_outs)
            if inside(plan.tissue, points).all() and within.all() == within.any():
                images.append(pixels[top : top + PIXELS, left : left + PIXELS])
                labels.append(bool(within.all()))
    return images, labels


def auc_over_slides(features, labels, slides) -> float:
    """Of a logistic regression, cross-validated by slide; features are centred within slides."""
    centred = features - np.stack([features[slides == s].mean(axis=0) for s in slides])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    scores = cross_val_predict(
        model, centred, labels, groups=slides, cv=GroupKFold(NUM_SLIDES), method="predict_proba"
    )
    return float(roc_auc_score(labels, scores[:, 1]))


def coarser(images: np.ndarray, factor: int) -> np.ndarray:
    size = images.shape[1] // factor
    blocks = images.reshape(len(images), size, factor, size, factor, 3)
    return blocks.mean(axis=(2, 4), dtype=np.float32)


def test_there_is_enough_to_measure(patches):
    _, labels, slides = patches
    assert labels.sum() > 50
    assert (~labels).sum() > 100
    assert len(set(slides[labels])) == NUM_SLIDES


@pytest.mark.parametrize("factor", [1, 4, 8])
def test_colour_and_brightness_do_not_give_the_label_away(patches, factor):
    """Mean colours, and but for the finest pixels, which show the detail, their spread."""
    images, labels, slides = patches
    pixels = coarser(images, factor)
    features = pixels.mean(axis=(1, 2))
    if factor > 1:
        features = np.concatenate([features, pixels.std(axis=(1, 2))], axis=1)
    assert auc_over_slides(features, labels, slides) < 0.66
    for column in features.T:
        assert abs(roc_auc_score(labels, column) - 0.5) < 0.16


def test_how_much_is_nucleus_does_not_give_the_label_away(patches):
    images, labels, slides = patches
    red = coarser(images, 4)[..., 0]
    shares = np.stack([(red < level).mean(axis=(1, 2)) for level in (100, 130, 160, 220)], axis=1)
    assert auc_over_slides(shares, labels, slides) < 0.66


def test_detail_in_nuclei_gives_the_label_away_and_less_so_in_coarse_pixels(patches):
    """The size of the darkest spots: do blobs of 0.8 µm answer more than such of 0.3 µm there?"""
    images, labels, _ = patches

    def auc(factor: int) -> float:
        density = -np.log(np.maximum(coarser(images, factor)[..., 0], 4) / 243)
        sizes = []
        for image in density:
            small, spot, large = (_blobs(image, um / (0.243 * factor)) for um in (0.3, 0.5, 0.8))
            peaks = (ndimage.maximum_filter(spot, 3) == spot) & (spot > 0.15)
            sizes.append((large - small)[peaks].mean())
        either_way = roc_auc_score(labels, sizes)
        return max(either_way, 1 - either_way)

    fine, coarse = auc(2), auc(8)
    assert fine > 0.95
    assert coarse < fine - 0.05


def _blobs(image: np.ndarray, sigma: float) -> np.ndarray:
    return -ndimage.gaussian_laplace(image, sigma) * sigma**2
