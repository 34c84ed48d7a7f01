"""A claim: what is compared and by what rule, written before the study is run."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from mlp_med.errors import EvidenceError

# The names of the two contrasts that stand beside a resolution study's primary one.
COMPUTE = "compute"  # coarse crop upsampled − native coarse: what the grid and its compute do
AS_USED = "as used"  # finest − native coarse: what a user of either sees

METRICS = {"auc": "AUC", "macro_auc": "macro AUC"}


@dataclass(frozen=True)
class Claim:
    """The directional claim that arm a's metric exceeds arm b's by more than the margin.

    Attributes:
        question: what a practitioner asks.
        statement: the claim in one sentence.
        margin: the smallest difference that matters, in units of the metric.
        primary: the names of arm a and arm b; the verdict rests on this contrast alone.
        secondary: contrasts reported beside it, by name, each (arm a, arm b).
        metric: "auc", or "macro_auc" of more than two classes.
        a_a: two arms that differ in nothing but their seeds, where the study carries such a pair.
        permuted: the arm that is trained on permuted labels, where there is one.
    """

    question: str
    statement: str
    margin: float
    primary: tuple[str, str]
    secondary: Mapping[str, tuple[str, str]] = field(default_factory=dict, hash=False)
    metric: str = "auc"
    a_a: tuple[str, str] | None = None
    permuted: str | None = None

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            known = " or ".join(map(repr, METRICS))
            raise EvidenceError(f"A claim's metric must be {known}, not {self.metric!r}.")
        if not 0 <= self.margin < 1:
            raise EvidenceError(
                f"A claim's margin is a difference of AUCs, in [0, 1), not {self.margin!r}."
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
