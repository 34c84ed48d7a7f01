"""Neither brightness nor size nor the surroundings tell a nodule from a mimic; its shape does."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlp_med.imaging.crop import render_crop
from mlp_med.imaging.volume import read_volume

SPACING_MM = 1.25
TISSUE_HU = -400.0


@pytest.fixture(scope="module")
def crops(phantom):
    """40 mm crops [n, 32, 32, 32], labels [n] and series [n]."""
    candidates = pd.read_csv(phantom / "candidates_V2.csv")
    images = []
    for uid, rows in candidates.groupby("seriesuid", sort=False):
        volume = read_volume(next(phantom.glob(f"subset*/{uid}.mhd")))
        for centre in rows[["coordX", "coordY", "coordZ"]].to_numpy():
            images.append(render_crop(volume, centre, 40.0, SPACING_MM))
    return np.stack(images), candidates["class"].to_numpy(), candidates["seriesuid"].to_numpy()


def auc_over_scans(features, labels, series) -> float:
    """Of a logistic regression, cross-validated by scan."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    scores = cross_val_predict(
        model, features, labels, groups=series, cv=GroupKFold(6), method="predict_proba"
    )
    return float(roc_auc_score(labels, scores[:, 1]))


def distance_mm() -> np.ndarray:
    axis = (np.arange(32) - 15.5) * SPACING_MM
    return np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)


@pytest.mark.parametrize("edge_mm", [40, 20])
def test_brightness_and_size_do_not_give_the_label_away(crops, edge_mm):
    images, labels, series = crops
    margin = round((40 - edge_mm) / 2 / SPACING_MM)
    inner = images[(slice(None), *[slice(margin, 32 - margin)] * 3)].reshape(len(images), -1)
    bright = (inner > TISSUE_HU).sum(axis=1) * SPACING_MM**3
    features = np.stack([inner.mean(axis=1), inner.max(axis=1), bright], axis=1)
    auc = auc_over_scans(features, labels, series)
    assert auc < 0.65
    for column in features.T:
        assert abs(roc_auc_score(labels, column) - 0.5) < 0.15


def test_the_surroundings_do_not_give_the_label_away(crops):
    images, labels, series = crops
    distance = distance_mm()
    around = images[:, distance > 10]
    shares = [(around > level).mean(axis=1) for level in (-800, -700, -500, -300, -100, 100, 300)]
    whole = np.stack([*shares, around.mean(axis=1), around.std(axis=1), around.max(axis=1)], axis=1)
    assert auc_over_scans(whole, labels, series) < 0.6

    shells = [images[:, (distance > r) & (distance <= r + 3)] for r in (10, 13, 16)]
    brightest = [shell.max(axis=1) for shell in shells]
    filled = [(shell > -500).mean(axis=1) for shell in shells]
    nearby = np.stack([*brightest, *filled, *(shell.mean(axis=1) for shell in shells)], axis=1)
    assert auc_over_scans(nearby, labels, series) < 0.6


def test_shape_gives_the_label_away(crops):
    """Extents of the central tissue along its own axes: blobs have three alike, vessels do not."""
    images, labels, series = crops
    tissue = np.clip((images + 860) / 900, 0, 1)
    axis = (np.arange(32) - 15.5) * SPACING_MM
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    features = []
    for radius in (3.0, 5.0, 8.0, 12.0):
        window = np.exp(-((distance_mm() / radius) ** 2))
        weights = (tissue * window).reshape(len(images), -1)
        mass = weights.sum(axis=1, keepdims=True)
        weights = weights / mass
        middle = weights @ points
        second = np.einsum("np,pa,pb->nab", weights, points, points, optimize=True)
        spread = second - middle[:, :, None] * middle[:, None]
        features += [np.linalg.eigvalsh(spread) / radius**2, mass / window.sum()]
    features = np.log(np.concatenate(features, axis=1) + 1e-3)
    assert auc_over_scans(features, labels, series) > 0.85
