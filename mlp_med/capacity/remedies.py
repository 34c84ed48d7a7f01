"""What must be given up for a batch to fit, each remedy tried in turn and priced.

In this order, each beside those before it: bfloat16; accumulation, down to one example at a time;
recomputation of what the norms give; sharding of the field over more devices. What none of them
makes fit is infeasible.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mlp_med.capacity.arithmetic import LayerCost, input_bytes, training_costs
from mlp_med.capacity.budget import Place
from mlp_med.capacity.platforms import Platform
from mlp_med.capacity.roofline import estimate
from mlp_med.capacity.workload import Workload

MOST_DEVICES = 64
INFEASIBLE = "infeasible"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The first way in which a workload fits on a platform, and its price an optimiser step.

    Attributes:
        remedy: the last of those needed: "float32" (none), "bfloat16", "accumulation",
            "recomputation", "sharding" or "infeasible".
        workload: as it then is on each device.
        num_devices: 1, or over how many the field is sharded.
        peak_bytes: predicted, a device; where nothing helps, of the last thing tried.
        seconds: at best, of a step of the whole batch; None where the platform has no figure.
        energy_joules: of all devices; None likewise.
    """

    remedy: str
    workload: Workload
    num_devices: int
    peak_bytes: int
    seconds: float | None
    energy_joules: float | None

    def price(self, per_hour: float) -> float | None:
        """Money for a step, from that of one device an hour."""
        if self.seconds is None:
            return None
        return self.seconds / 3600 * per_hour * self.num_devices


def first_that_fits(workload: Workload, place: Place, budget: int) -> Outcome:
    """Tries each remedy in turn.

    Args:
        workload: in float32, without accumulation.
        place: the platform; must be one.
        budget: bytes a device.
    """
    for attempt in _attempts(workload, place):
        if attempt.peak_bytes <= budget:
            return attempt
    return dataclasses.replace(attempt, remedy=INFEASIBLE, seconds=None, energy_joules=None)


def _attempts(workload: Workload, place: Place) -> Iterator[Outcome]:
    """From the cheapest on; the platform's figures decide which exist."""
    yield _outcome("float32", workload, place)
    if _platform(place).peak_flops.get("mixed_bfloat16"):
        workload = replace(workload, precision="mixed_bfloat16")
        yield _outcome("bfloat16", workload, place)
    batch = workload.batch_size
    for micro in _divisors(batch):
        workload = replace(workload, batch_size=micro, accumulation_steps=batch // micro)
        yield _outcome("accumulation", workload, place)
    workload = replace(workload, recompute=True)
    yield _outcome("recomputation", workload, place)
    devices = 2
    while devices <= MOST_DEVICES:
        shard = _shard(workload, devices)
        if shard is None:
            return
        yield _outcome("sharding", shard, place, num_devices=devices)
        devices *= 2


def _outcome(
    remedy: str,
    workload: Workload,
    place: Place,
    *,
    num_devices: int = 1,
) -> Outcome:
    seconds, energy = _time(_costs(workload), workload, _platform(place), num_devices)
    return Outcome(
        remedy=remedy,
        workload=workload,
        num_devices=num_devices,
        peak_bytes=place.needed(workload),
        seconds=seconds,
        energy_joules=energy,
    )


@functools.lru_cache(maxsize=4096)
def _costs(workload: Workload) -> tuple[LayerCost, ...]:
    return tuple(training_costs(workload))


def _time(
    costs: Sequence[LayerCost], workload: Workload, platform: Platform, num_devices: int
) -> tuple[float | None, float | None]:
    found = estimate(costs, input_bytes(workload), platform, workload.precision)
    if found is None:
        return None, None
    energy = found.energy_joules
    return found.seconds, None if energy is None else energy * num_devices


def _divisors(batch: int) -> list[int]:
    """Smaller micro-batches that make up the batch, the largest first."""
    return [micro for micro in range(batch // 2, 0, -1) if batch % micro == 0]


def _shard(workload: Workload, num_devices: int) -> Workload | None:
    """One device's part of the field, the longest edge halved again and again.

    The planes that neighbours exchange at every convolution are not counted.
    """
    voxels = list(workload.voxels)
    for _ in range(num_devices.bit_length() - 1):
        longest = voxels.index(max(voxels))
        if voxels[longest] <= workload.stride:
            return None
        voxels[longest] = -(-voxels[longest] // workload.stride // 2) * workload.stride
    return replace(workload, voxels=tuple(voxels))


def _platform(place: Place) -> Platform:
    if place.platform is None:
        raise ValueError("expected a platform to price remedies on, got none")
    return place.platform
