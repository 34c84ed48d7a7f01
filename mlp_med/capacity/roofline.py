"""Time and energy of a step on a platform by the roofline model, and what the step waits for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mlp_med.capacity.arithmetic import LayerCost
from mlp_med.capacity.platforms import Platform

Bound = Literal["compute", "memory", "IO"]


@dataclass(frozen=True)
class Estimate:
    """The least time that a step can take on a platform.

    Attributes:
        seconds: whole.
        compute_seconds: of layers that are limited by the peak rate.
        memory_seconds: of layers that are limited by the memory's bandwidth.
        io_seconds: in which the crops reach the device; the pipeline works beside the step.
        intensity: operations a byte, over all layers.
        energy_joules: at full power all the time; None where the power is not known.
    """

    seconds: float
    compute_seconds: float
    memory_seconds: float
    io_seconds: float
    intensity: float
    energy_joules: float | None

    @property
    def bound(self) -> Bound:
        """What the step waits for most."""
        if self.io_seconds > self.compute_seconds + self.memory_seconds:
            return "IO"
        return "compute" if self.compute_seconds >= self.memory_seconds else "memory"


def estimate(
    costs: Sequence[LayerCost], num_input_bytes: int, platform: Platform, precision: str
) -> Estimate | None:
    """Each layer at its own roof (Williams, Waterman & Patterson 2009), one after the other.

    Args:
        costs: of a step.
        num_input_bytes: crops that the step takes in.
        platform: whose peaks count.
        precision: a Keras dtype policy.

    Returns:
        None where the platform has no figure for this precision or for its bandwidth.
    """
    peak = platform.peak_flops.get(precision)
    if peak is None or platform.bandwidth is None:
        return None
    compute = memory = 0.0
    for cost in costs:
        by_peak, by_bandwidth = cost.operations / peak, cost.num_bytes / platform.bandwidth
        if by_peak >= by_bandwidth:
            compute += by_peak
        else:
            memory += by_bandwidth
    io = num_input_bytes / platform.link if platform.link else 0.0
    seconds = max(compute + memory, io)
    operations = sum(cost.operations for cost in costs)
    return Estimate(
        seconds=seconds,
        compute_seconds=compute,
        memory_seconds=memory,
        io_seconds=io,
        intensity=operations / sum(cost.num_bytes for cost in costs),
        energy_joules=None if platform.power_w is None else platform.power_w * seconds,
    )
