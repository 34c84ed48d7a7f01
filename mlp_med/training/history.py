"""What a training run leaves beside the weights: curves and times."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class ValidationPoint:
    """The validation split scored on the way.

    Attributes:
        examples_seen: training examples, repeats included.
        seconds_training: spent in training steps so far, without evaluation.
        auc: of the validation split.
        loss: of the validation split.
    """

    examples_seen: int
    seconds_training: float
    auc: float
    loss: float


@dataclass(frozen=True)
class LossPoint:
    """Mean training loss over the steps that end at `examples_seen`."""

    examples_seen: int
    loss: float


@dataclass
class History:
    """What a training run leaves beside the weights.

    The seconds of a run that was resumed are those of all its processes, without what was lost
    with a process after its last checkpoint.

    Attributes:
        validation: one point an evaluation, in order.
        training: the loss curve, one point every few steps.
        best: the validation point of highest AUC, whose weights the model now has unless it was
            trained with `should_stop`.
        examples_seen: the whole budget, unless training was stopped before.
        seconds_tracing: spent building the graph, before the first step.
        seconds_training: spent in steps, input included.
        seconds_evaluation: spent scoring the validation split.
    """

    validation: list[ValidationPoint] = field(default_factory=list)
    training: list[LossPoint] = field(default_factory=list)
    best: ValidationPoint | None = None
    examples_seen: int = 0
    seconds_tracing: float = 0.0
    seconds_training: float = 0.0
    seconds_evaluation: float = 0.0

    @property
    def examples_per_second(self) -> float:
        """Training throughput, evaluation and graph building left out."""
        return self.examples_seen / self.seconds_training if self.seconds_training else 0.0

    def to_plain(self) -> dict[str, Any]:
        """Plain values for JSON, which keeps every float to the last bit."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The history that `to_plain` was asked for."""
        return cls(
            **{
                **plain,
                "validation": [ValidationPoint(**point) for point in plain["validation"]],
                "training": [LossPoint(**point) for point in plain["training"]],
                "best": ValidationPoint(**plain["best"]) if plain["best"] else None,
            }
        )
