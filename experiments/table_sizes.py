"""The sizes of a resolution study on a user's own scans, from the description of what was built."""

from collections.abc import Mapping

from experiments.sizes import Size, smoke_size
from mlp_med.pipelines.datasets import DatasetDescription
from mlp_med.studies.pilot import PilotDesign


def sizes_for_table(description: DatasetDescription) -> Mapping[str, Size]:
    """Smoke, small and full size on the resolutions that the dataset has.

    The claim compares the finest with the coarsest. A pilot on these very scans chooses the
    learning rates and the budget. Where the csv file states centres the network averages over the
    centre of its last grid; over all of it where the images are whole.

    Args:
        description: `mlp_med.pipelines.datasets.describe("table", data_dir)`.
    """
    resolutions = tuple(sorted(description.resolutions))
    primary = (resolutions[0], resolutions[-1])
    batch, learning_rate = (16, 4e-3) if description.spatial_dims == 3 else (32, 3e-3)
    pooling = "_centre" if description.label_at_centre else ""
    return {
        "smoke": smoke_size(primary, model=f"residual_small{pooling}", global_batch_size=batch),
        "small": Size(
            resolutions=resolutions,
            primary=primary,
            model=f"residual_small{pooling}",
            global_batch_size=batch,
            learning_rate=learning_rate,
            budget_examples=24_000,
            num_evaluations=8,
            num_seeds=5,
            pilot=PilotDesign(most_budget_examples=96_000),
        ),
        "full": Size(
            resolutions=resolutions,
            primary=primary,
            model=f"residual{pooling}",
            global_batch_size=2 * batch,
            learning_rate=1e-3,
            budget_examples=192_000,
            num_evaluations=20,
            num_seeds=10,
            intra_op_threads=2,
            pilot=PilotDesign(
                learning_rates=(3e-4, 9e-4, 2.7e-3), num_seeds=5, most_budget_examples=1_536_000
            ),
        ),
    }
