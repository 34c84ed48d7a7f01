"""Free-response ROC: sensitivity against false positives a scan, and its bootstrap over scans.

The definition is that of the LUNA16 challenge (Setio et al. 2017, Medical Image Analysis 42, 1-13):
a lesion that several marks hit counts once, with the highest of their scores; a lesion without a
mark is never found; sensitivity is read off the curve by linear interpolation at ⅛ to 8 false
positives a scan, and the competition performance metric (CPM) is the mean of those (Niemeijer et
al. 2011, IEEE TMI 30, 215-223). Camelyon16 asks the same at ¼ to 8 false positives a slide.
"""

from dataclasses import dataclass

import numpy as np

from mlp_med.errors import EvidenceError

LUNA16_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
CONFIDENCE = 0.95
SAMPLES_AT_ONCE = 100  # resamples whose curves are in memory together


@dataclass(frozen=True, eq=False)
class Detections:
    """What is left of marks and lesions once it is known which mark hits which lesion.

    Attributes:
        lesion_scores: [num_lesions] float64, the highest score of a mark on it; −inf for a miss.
        lesion_scans: [num_lesions] int, from 0 to `num_scans` − 1.
        false_scores: [num_false] float64, scores of the marks that hit nothing.
        false_scans: [num_false] int.
        num_scans: those without marks and without lesions too.
    """

    lesion_scores: np.ndarray
    lesion_scans: np.ndarray
    false_scores: np.ndarray
    false_scans: np.ndarray
    num_scans: int


@dataclass(frozen=True, eq=False)
class Froc:
    """The curve's values at some rates, with percentile intervals over resampled scans.

    Attributes:
        rates: false positives a scan.
        sensitivities: at those rates.
        low, high: 95 % interval of each; NaN without a bootstrap.
        cpm: mean of the sensitivities.
        cpm_low, cpm_high: 95 % interval; NaN without a bootstrap.
        num_bootstrap: resamples.
    """

    rates: tuple[float, ...]
    sensitivities: np.ndarray
    low: np.ndarray
    high: np.ndarray
    cpm: float
    cpm_low: float
    cpm_high: float
    num_bootstrap: int


def froc(
    detections: Detections,
    rates: tuple[float, ...] = LUNA16_RATES,
    *,
    num_bootstrap: int = 1000,
    seed: int = 0,
) -> Froc:
    """Sensitivity at some rates of false positives.

    Args:
        detections: of all scans.
        rates: false positives a scan.
        num_bootstrap: resamples of whole scans; 0 for no interval.
        seed: of the resampling.

    Raises:
        EvidenceError: there is no lesion, or no scan.
    """
    if not detections.num_scans or not len(detections.lesion_scores):
        raise EvidenceError(
            f"a FROC curve needs lesions; got {len(detections.lesion_scores)} in "
            f"{detections.num_scans} scans"
        )
    once = np.ones((1, detections.num_scans), np.int32)
    sensitivities = _sensitivities(detections, once, rates)[0]
    samples = _bootstrap(detections, rates, num_bootstrap, seed)
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    if len(samples):
        low, high = np.quantile(samples, tails, axis=0)
        cpm_low, cpm_high = np.quantile(samples.mean(axis=1), tails)
    else:
        low = high = np.full(len(rates), np.nan)
        cpm_low = cpm_high = np.nan
    return Froc(
        rates=rates,
        sensitivities=sensitivities,
        low=low,
        high=high,
        cpm=float(sensitivities.mean()),
        cpm_low=float(cpm_low),
        cpm_high=float(cpm_high),
        num_bootstrap=num_bootstrap,
    )


def froc_curve(detections: Detections) -> tuple[np.ndarray, np.ndarray]:
    """False positives a scan and sensitivity at each threshold, from no mark to all of them.

    Returns:
        Two float64 arrays of one length, both ascending from 0.
    """
    once = np.ones((1, detections.num_scans), np.int32)
    false_positives, sensitivity = _curves(detections, once)
    return false_positives[0], sensitivity[0]


def _bootstrap(
    detections: Detections, rates: tuple[float, ...], num_bootstrap: int, seed: int
) -> np.ndarray:
    """Sensitivities [samples, rates]; a resample without any lesion has none and is left out."""
    generator = np.random.default_rng(seed)
    num_scans, samples = detections.num_scans, [np.empty((0, len(rates)))]
    for start in range(0, num_bootstrap, SAMPLES_AT_ONCE):
        number = min(SAMPLES_AT_ONCE, num_bootstrap - start)
        counts = generator.multinomial(num_scans, np.full(num_scans, 1 / num_scans), size=number)
        with_lesions = counts[:, detections.lesion_scans].any(axis=1)
        samples.append(_sensitivities(detections, counts[with_lesions], rates))
    return np.concatenate(samples)


def _sensitivities(
    detections: Detections, counts: np.ndarray, rates: tuple[float, ...]
) -> np.ndarray:
    """[samples, rates] where scan i is in sample s `counts[s, i]` times."""
    false_positives, sensitivity = _curves(detections, counts)
    pairs = zip(false_positives, sensitivity, strict=True)
    return np.array([np.interp(rates, *curve) for curve in pairs]).reshape(-1, len(rates))


def _curves(detections: Detections, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both [samples, thresholds + 1]; marks of equal score pass a threshold together."""
    found = np.isfinite(detections.lesion_scores)
    scores = np.concatenate([detections.lesion_scores[found], detections.false_scores])
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # last mark of each score
    num_found = int(found.sum())

    def passed(scans: np.ndarray, is_lesion: bool) -> np.ndarray:
        weights = np.zeros((len(counts), len(scores)), np.int32)
        part = slice(None, num_found) if is_lesion else slice(num_found, None)
        weights[:, part] = counts[:, scans]
        totals = np.cumsum(weights[:, order], axis=1, dtype=np.int32)[:, ends]
        return np.concatenate([np.zeros((len(counts), 1)), totals], axis=1)

    num_lesions = counts[:, detections.lesion_scans].sum(axis=1, keepdims=True)
    true_positives = passed(detections.lesion_scans[found], True)
    false_positives = passed(detections.false_scans, False)
    return false_positives / detections.num_scans, true_positives / num_lesions
