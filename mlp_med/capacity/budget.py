"""What a platform leaves to a workload, and what the workload takes there."""

import dataclasses
from dataclasses import dataclass

from mlp_med.capacity.inverse import fewest_tiles, finest_grid, largest_batch
from mlp_med.capacity.memory import (
    PROCESS_BASE_BYTES,
    RUNNING_BYTES,
    MemoryPlan,
    allocator_bytes,
    graph_bytes,
    predict_memory,
)
from mlp_med.capacity.platforms import Platform
from mlp_med.capacity.workload import Workload
from mlp_med.errors import CapacityError

# On a device of its own: the driver's context and the kernels' libraries. Assumed, not measured.
DEVICE_CONTEXT_BYTES = 700_000_000


@dataclass(frozen=True)
class Fit:
    """The most that fits into a budget, each with the other things as they were asked for.

    Attributes:
        fits: whether the workload does as it stands.
        batch: the most examples at once at this resolution; 0 where not even one fits.
        grid: the workload on the finest grid at this batch; None where none fits.
        tiled: the workload as the fewest tiles at this resolution and batch; None where none fit.
    """

    fits: bool
    batch: int
    grid: Workload | None
    tiled: Workload | None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where memory is planned: a platform or none, and what was measured of it.

    Attributes:
        platform: None for a process on any CPU.
        running_bytes: of the constant line, a probe's if there was one.
        process_base_bytes: of the process before the model was built.
        dataset_bytes: of crops that stay in the process.
    """

    platform: Platform | None = None
    running_bytes: int = RUNNING_BYTES
    process_base_bytes: int = PROCESS_BASE_BYTES
    dataset_bytes: int = 0

    def plan(self, workload: Workload) -> MemoryPlan:
        """The lines of the workload's peak here."""
        if self.platform is None or self.platform.holds_process:
            return predict_memory(
                workload,
                dataset_bytes=self.dataset_bytes,
                running_bytes=self.running_bytes,
                process_base_bytes=self.process_base_bytes,
            )
        # The process, its graphs, crops and pipeline stay on the host; two batches cross.
        plan = predict_memory(workload, running_bytes=0, process_base_bytes=DEVICE_CONTEXT_BYTES)
        batch = 4 * workload.batch_size * workload.num_voxels * workload.num_channels
        return dataclasses.replace(
            plan,
            input_buffers=2 * batch,
            allocator=allocator_bytes(plan.activations + plan.backward + 2 * batch),
            running=plan.running - graph_bytes(workload),
            best_weights=0,
        )

    def needed(self, workload: Workload) -> int:
        """The peak, in bytes."""
        return self.plan(workload).peak


def fit_into(workload: Workload, budget: int, place: Place) -> Fit:
    """What fits into `budget` bytes.

    Raises:
        CapacityError: the budget is below what the process takes before any model is built.
    """
    base = place.plan(workload.with_batch(1))
    least = base.process_base + base.dataset
    if budget <= least:
        raise CapacityError(
            f"a budget of {budget:,} bytes is less than the process itself takes before a model is "
            f"built, {least:,} bytes; give more, or a machine that has more"
        )
    return Fit(
        fits=place.needed(workload) <= budget,
        batch=largest_batch(workload, budget, place.needed),
        grid=finest_grid(workload, budget, place.needed),
        tiled=fewest_tiles(workload, budget, place.needed),
    )
