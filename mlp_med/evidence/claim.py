"""A claim: what is compared and by what rule, written before the study is run."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from mlp_med.errors import EvidenceError

# The names of the two contrasts that stand beside a resolution study's primary one.
COMPUTE = "compute"  # coarse crop upsampled − native coarse: what the grid and its compute do
AS_USED = "as used"  # finest − native coarse: what a user of either sees
# Test AUC; restricted mean time to a target as a share of the horizon, see
# `mlp_med.evidence.time_to_target`; natural logarithm of Keskar's sharpness.
Metric = Literal["auc", "macro_auc", "examples_to_target", "seconds_to_target", "log_sharpness"]
METRICS: dict[Metric, str] = {
    "auc": "AUC",
    "macro_auc": "macro AUC",
    "examples_to_target": "share of the horizon",
    "seconds_to_target": "share of the horizon",
    "log_sharpness": "logarithm of sharpness",
}


@dataclass(frozen=True)
class Claim:
    """The directional claim that arm a's metric exceeds arm b's by more than the margin.

    Attributes:
        question: what a practitioner asks.
        statement: the claim in one sentence.
        margin: the smallest difference that matters, in units of the metric.
        primary: the names of arm a and arm b; the verdict rests on this contrast alone.
        secondary: contrasts reported beside it, by name, each (arm a, arm b).
        metric: in whose units effect and margin are; "macro_auc" with more than two classes.
        a_a: two arms that differ in nothing but their seeds, where the study carries such a pair.
        permuted: the arm that is trained on permuted labels, where there is one.
        name: what it is called among the several claims of a study.
        target: validation AUC whose time is claimed of, in the claims of a time; else None.
    """

    question: str
    statement: str
    margin: float
    primary: tuple[str, str]
    secondary: Mapping[str, tuple[str, str]] = field(default_factory=dict, hash=False)
    metric: Metric = "auc"
    a_a: tuple[str, str] | None = None
    permuted: str | None = None
    name: str = ""
    target: float | None = None

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise EvidenceError(
                f"A claim's metric must be one of {tuple(METRICS)}, not {self.metric!r}."
            )
        if not 0 <= self.margin < 1:
            raise EvidenceError(
                f"A claim's margin is a difference of its metric, in [0, 1), not {self.margin!r}."
            )
        if self.metric.endswith("_to_target") != (self.target is not None):
            raise EvidenceError(
                f"A claim of a time to a target, and no other, must state the target; got "
                f"{self.target!r} with the metric {self.metric!r}."
            )
        for name, arms in {"primary": self.primary, **self.secondary}.items():
            if len(arms) != 2 or arms[0] == arms[1]:
                raise EvidenceError(
                    f"The {name} contrast must name two different arms, not {arms!r}."
                )

    @property
    def metric_name(self) -> str:
        """For people: "AUC" or "macro AUC"."""
        return METRICS[self.metric]

    @property
    def digest(self) -> str:
        """SHA-256 of every field: two claims with equal digests are the same claim."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
