"""A study of tiny cells on patches of noise, and what a ledger says of it, to be compared."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments import resolution_matters
from experiments.sizes import SIZES
from mlp_med.cli.datasets import build_dataset
from mlp_med.ledger.read import StudyRecord, load_predictions
from mlp_med.ledger.store import Ledger
from mlp_med.studies.planning import open_dataset
from mlp_med.studies.provenance import code_digest, common_code_digest
from mlp_med.studies.study import Study
from tests.studies.cells import small_cell

DATASET, RESOLUTION, NUM_PATCHES = "metastasis_patches", 7.76, 60
# Of the sweep, not of what was run.
NOT_COMPARED = {"holder", "lease", "node", "cell_start"}


def write_patches(source: Path, num_patches: int = NUM_PATCHES) -> None:
    """Patches of noise in Kaggle's layout; every other one has a darker centre and is positive."""
    rng = np.random.default_rng(0)
    (source / "train").mkdir(parents=True)
    lines = ["id,label"]
    for number in range(num_patches):
        pixels = rng.normal((220, 160, 200), 25, (96, 96, 3))
        pixels[32:64, 32:64] -= 8 * (number % 2)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        image.save(source / "train" / f"{number:040x}.tif")
        lines.append(f"{number:040x},{number % 2}")
    (source / "train_labels.csv").write_text("\n".join(lines) + "\n")


def noise_study(
    directory: Path, num_cells: int, budget_examples: int = 1600, num_workers: int = 1
) -> Study:
    """Cells of a second or two, on patches of noise whose centre tells the label."""
    source, data_dir = directory / "source", directory / "tfds"
    write_patches(source)
    build_dataset(DATASET, source, data_dir, [RESOLUTION])
    dataset = open_dataset(DATASET, [RESOLUTION], data_dir, source)
    size = SIZES[DATASET]["smoke"]
    cells = [
        small_cell(
            dataset=DATASET,
            dataset_digest=dataset.digests[RESOLUTION],
            resolution=RESOLUTION,
            grid=RESOLUTION,
            budget_examples=budget_examples,
            num_evaluations=4,
            num_workers=num_workers,
            seed=seed,
        )
        for seed in range(num_cells)
    ]
    return Study(
        name="resolution_matters",
        size="smoke",
        claim=resolution_matters.claim(size, "um", phantom=False),
        cells=tuple(cells),
        arm_names={cell.hash: "7.76um" for cell in cells},
        dataset_info=dataset.info,
        code_digest=code_digest(DATASET),
        common_code_digest=common_code_digest(),
    )


def contents(ledger: Ledger, record: StudyRecord) -> dict[str, tuple[Any, ...]]:
    """By cell: params, tags, metrics but those of time and memory, and the predictions' bytes."""
    return {
        cell.hash: (
            cell.arm,
            dict(cell.params),
            {name: value for name, value in cell.tags.items() if name not in NOT_COMPARED},
            {
                name: value
                for name, value in cell.metrics.items()
                if not name.startswith(("seconds", "examples_per")) and "memory" not in name
            },
            load_predictions(ledger, cell.run_id).to_json(),
            load_predictions(ledger, cell.run_id)["score"].to_numpy().tobytes(),
        )
        for cell in record.cells
    }
