"""How large the study of resolution against batch is on each dataset, within which memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from experiments.sizes import SIZES as RESOLUTION_SIZES
from experiments.sizes import Size
from experiments.table_sizes import sizes_for_table as resolution_sizes_for_table
from mlp_med.pipelines.datasets import DatasetDescription
from mlp_med.studies.pilot import PilotDesign

FEWEST = 2  # examples at once, at the finest resolution of a table


@dataclass(frozen=True, kw_only=True)
class MemorySize(Size):
    """One size of the study on one dataset.

    Attributes:
        memory_bytes: that a training run may take above its process and its crops.
        batches: by resolution, the largest power of two that the memory plan fits into it
            (tests/experiments/test_resolution_or_batch.py), but for less than the training set.
    """

    memory_bytes: int
    batches: Mapping[float, int] = field(hash=False)


def _size(
    like: Size,
    memory_bytes: int,
    batches: Mapping[float, int],
    budget_examples: int,
    *,
    pilot: PilotDesign | None = None,
) -> MemorySize:
    """A size of `resolution_matters`, within a memory; the budget divides by every batch.

    Its pilot is that of `like`, on phantoms too, unless another is given for both.
    """
    fields = {name: getattr(like, name) for name in Size.__dataclass_fields__}
    on_phantom = {**like.on_phantom}
    on_phantom.pop("budget_examples", None)
    if pilot is not None:
        fields["pilot"] = pilot
        on_phantom.pop("pilot", None)
    return MemorySize(
        **{
            **fields,
            "resolutions": tuple(sorted(batches)),
            "primary": (min(batches), max(batches)),
            "global_batch_size": batches[max(batches)],
            "budget_examples": budget_examples,
            "cross_validated": False,
            "on_phantom": on_phantom,
        },
        memory_bytes=memory_bytes,
        batches=batches,
    )


_CT, _PATCHES = RESOLUTION_SIZES["luna16"], RESOLUTION_SIZES["metastasis_patches"]
SIZES: Mapping[str, Mapping[str, MemorySize]] = {
    # Crops of 40 mm and small networks need little: these budgets are toys beside a network's own
    # buffers. The trade is that of larger fields, within more.
    "luna16": {
        "smoke": _size(_CT["smoke"], 110_000_000, {1.25: 2, 5.0: 128}, 640),
        # A batch of 2 takes 64 times the steps of one of 128: until both have converged is beyond
        # 20 minutes, so no budget is judged.
        "small": _size(
            _CT["small"],
            110_000_000,
            {1.25: 2, 2.5: 16, 5.0: 128},
            19_200,
            pilot=PilotDesign(learning_rates=(1e-3, 4e-3, 1.6e-2), most_budget_examples=None),
        ),
        "full": _size(_CT["full"], 160_000_000, {0.625: 2, 1.25: 8, 2.5: 64, 5.0: 512}, 196_608),
    },
    "metastasis_patches": {
        "smoke": _size(_PATCHES["smoke"], 110_000_000, {1.94: 16, 7.76: 256}, 1_024),
        "small": _size(
            _PATCHES["small"], 110_000_000, {0.97: 4, 1.94: 16, 3.88: 64, 7.76: 256}, 25_600
        ),
    },
}


def sizes_for_table(description: DatasetDescription) -> Mapping[str, MemorySize]:
    """On a user's own scans: what two examples of the finest resolution take is the budget."""
    return {
        name: _within_two(size, description)
        for name, size in resolution_sizes_for_table(description).items()
    }


def _within_two(like: Size, description: DatasetDescription) -> MemorySize:
    # Here, since these import TensorFlow, for which a list of studies should not wait.
    from mlp_med.capacity.workload import Workload
    from mlp_med.pipelines.datasets import crop_grid
    from mlp_med.studies.memory_budget import largest_power_of_two, memory_above_base

    def workload(resolution: float, batch_size: int) -> Workload:
        return Workload(
            model=like.model,
            voxels=crop_grid(description, resolution),
            num_channels=description.num_channels,
            batch_size=batch_size,
            norm="group",
        )

    memory_bytes = memory_above_base(workload(min(like.resolutions), FEWEST))
    batches = {
        resolution: largest_power_of_two(workload(resolution, 1), memory_bytes)
        for resolution in like.resolutions
    }
    largest = max(batches.values())
    budget = max(1, round(like.budget_examples / largest)) * largest
    return _size(like, memory_bytes, batches, budget)
