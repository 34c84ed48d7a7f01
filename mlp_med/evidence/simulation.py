"""Simulated studies of which the truth is known: they show how often an interval holds it.

The binormal model: a case scores N(0, 1) if negative and N(μ, 1) if positive, so that its AUC is
Φ(μ/√2). The noise is shared in parts: by all cases of a patient, by all models that see the case,
by the models of one arm, by none. Each seed has its own μ, drawn from a normal whose mean and
width give the wanted mean and standard deviation of the AUC over seeds.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm

from mlp_med.evidence.contrast import compare_scored
from mlp_med.evidence.predictions import ScoredCases


@dataclass(frozen=True)
class SimulatedStudy:
    """Two arms whose true difference is known.

    Attributes:
        effect: true mean AUC of arm a minus that of arm b.
        auc: true mean AUC of arm b.
        seed_sd: standard deviation of the AUC over seeds in arm a and arm b.
        num_seeds: in arm a and arm b.
        num_patients: of the test split.
        max_cases_per_patient: 1 for one case each, else uniform from 1 to this.
        prevalence: share of positive cases.
        patient_share, case_share, arm_share: of the scores' variance, common to a patient's cases;
            to all models on a case; to one arm's models on a case. The rest is each model's own.
    """

    effect: float = 0.0
    auc: float = 0.85
    seed_sd: tuple[float, float] = (0.01, 0.01)
    num_seeds: tuple[int, int] = (5, 5)
    num_patients: int = 200
    max_cases_per_patient: int = 1
    prevalence: float = 0.4
    patient_share: float = 0.25
    case_share: float = 0.35
    arm_share: float = 0.2


@dataclass(frozen=True)
class Coverage:
    """How the 95 % intervals of simulated studies fared.

    Attributes:
        num_simulations: studies drawn.
        coverage: share of the intervals that hold the true effect.
        too_high: share that lie wholly above it (a false "supported" if it is the margin).
        too_low: share that lie wholly below it (a false "refuted").
        bias: mean estimate minus truth.
        sd: standard deviation of the estimates.
        mean_width: of the intervals.
    """

    num_simulations: int
    coverage: float
    too_high: float
    too_low: float
    bias: float
    sd: float
    mean_width: float


def simulate_scored(study: SimulatedStudy, seed: int) -> tuple[ScoredCases, ScoredCases]:
    """Draws one study: arm a and arm b on the same cases.

    Args:
        study: the truth.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, study.max_cases_per_patient + 1, study.num_patients)
    patients = np.repeat(np.arange(study.num_patients), sizes)
    labels = rng.random(len(patients)) < study.prevalence
    common = sqrt(study.patient_share) * rng.standard_normal(study.num_patients)[patients]
    common += sqrt(study.case_share) * rng.standard_normal(len(patients))
    own_share = 1 - study.patient_share - study.case_share - study.arm_share
    arms = []
    for auc, sd, num_seeds in zip(
        (study.auc + study.effect, study.auc), study.seed_sd, study.num_seeds, strict=True
    ):
        mean, width = separation(auc, sd)
        in_arm = common + sqrt(study.arm_share) * rng.standard_normal(len(patients))
        separations = mean + width * rng.standard_normal(num_seeds)
        own = sqrt(own_share) * rng.standard_normal((num_seeds, len(patients)))
        arms.append(
            ScoredCases(
                ids=np.array([f"case{case:06d}" for case in range(len(patients))]),
                patients=patients,
                labels=labels,
                scores=ndtr(in_arm + own + separations[:, None] * labels - mean / 2),
                seeds=np.arange(num_seeds),
                num_patients=study.num_patients,
                patients_known=True,
                folds=np.zeros(len(patients), np.int64),
            )
        )
    return arms[0], arms[1]


def simulate_arms(study: SimulatedStudy, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same draw as predictions tables, as cells write them."""
    first, second = simulate_scored(study, seed)
    return _table(first), _table(second)


@lru_cache(maxsize=256)
def separation(auc: float, seed_sd: float) -> tuple[float, float]:
    """Mean and standard deviation of μ that give the AUC this mean and deviation over seeds.

    With μ ~ N(m, τ²), E Φ(μ/√2) = Φ(m/√(2 + τ²)): the mean is exact; τ is solved for.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(81)
    weights = weights / weights.sum()

    def mean_separation(width: float) -> float:
        return sqrt(2 + width**2) * float(norm.ppf(auc))

    def excess(width: float) -> float:
        values = ndtr((mean_separation(width) + width * nodes) / sqrt(2))
        return sqrt(float(weights @ (values - auc) ** 2)) - seed_sd

    width = 0.0 if seed_sd == 0 else float(brentq(excess, 1e-9, 10.0))
    return mean_separation(width), width


def simulate_intervals(
    study: SimulatedStudy, *, num_simulations: int, num_bootstrap: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Effect, low and high end of every simulated study, [num_simulations] each.

    Args:
        study: the truth; at least two seeds an arm.
        num_simulations: independent studies.
        num_bootstrap: resamples of the patients in each.
        seed: study k is drawn with a seed derived from (seed, k).
    """
    children = np.random.SeedSequence(seed).generate_state(num_simulations)
    contrasts = [
        compare_scored(
            *simulate_scored(study, int(child)),
            num_bootstrap=num_bootstrap,
            seed=k,
            cross_check=False,
        )
        for k, child in enumerate(children)
    ]
    return (
        np.array([contrast.effect for contrast in contrasts]),
        np.array([_end(contrast.ci_low, -1.0) for contrast in contrasts]),
        np.array([_end(contrast.ci_high, 1.0) for contrast in contrasts]),
    )


def simulate_coverage(
    study: SimulatedStudy, *, num_simulations: int, num_bootstrap: int = 500, seed: int = 0
) -> Coverage:
    """Draws the study again and again and asks each interval whether it holds the true effect.

    Args:
        study: the truth; at least two seeds an arm.
        num_simulations: independent studies.
        num_bootstrap: resamples of the patients in each.
        seed: study k is drawn with a seed derived from (seed, k).
    """
    effect, low, high = simulate_intervals(
        study, num_simulations=num_simulations, num_bootstrap=num_bootstrap, seed=seed
    )
    too_high, too_low = float(np.mean(low > study.effect)), float(np.mean(high < study.effect))
    return Coverage(
        num_simulations=num_simulations,
        coverage=1 - too_high - too_low,
        too_high=too_high,
        too_low=too_low,
        bias=float(effect.mean() - study.effect),
        sd=float(effect.std(ddof=1)),
        mean_width=float((high - low).mean()),
    )


def _end(end: float | None, unknown: float) -> float:
    return unknown if end is None else end


def _table(arm: ScoredCases) -> pd.DataFrame:
    num_seeds, num_cases = arm.scores.shape
    patients = [f"patient{patient:05d}" for patient in arm.patients]
    return pd.DataFrame(
        {
            "id": np.tile(arm.ids, num_seeds),
            "patient": np.tile(patients, num_seeds),
            "seed": np.repeat(arm.seeds, num_cases),
            "label": np.tile(arm.labels.astype(np.int8), num_seeds),
            "score": arm.scores.ravel().astype(np.float32),
        }
    )
