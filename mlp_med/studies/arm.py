"""An arm: the cells of a study that differ only in their seeds."""

from dataclasses import dataclass
from typing import Literal

from mlp_med.studies.cell import Cell, Control


@dataclass(frozen=True, kw_only=True)
class Arm:
    """An arm as an experiment file writes it; the dataset and the machine add the rest.

    Attributes:
        name: as tables and figures show it, e.g. "5mm upsampled to 1.25mm".
        others: see `Cell`.
    """

    name: str
    resolution: float
    grid: float
    control: Control
    model: str
    global_batch_size: int
    learning_rate: float
    budget_examples: int
    num_evaluations: int
    intra_op_threads: int
    depth: Literal["fixed", "matched"] = "fixed"
    norm: Literal["batch", "group", "none"] = "batch"
    augment: bool = True

    def cell(
        self,
        *,
        dataset: str,
        dataset_digest: str,
        precision: Literal["float32", "mixed_bfloat16"],
        seed: int,
    ) -> Cell:
        """The cell of this arm with one seed."""
        return Cell(
            dataset=dataset,
            dataset_digest=dataset_digest,
            resolution=self.resolution,
            grid=self.grid,
            control=self.control,
            model=self.model,
            depth=self.depth,
            norm=self.norm,
            precision=precision,
            global_batch_size=self.global_batch_size,
            learning_rate=self.learning_rate,
            budget_examples=self.budget_examples,
            num_evaluations=self.num_evaluations,
            augment=self.augment,
            intra_op_threads=self.intra_op_threads,
            seed=seed,
        )


def arm_name(resolution: float, grid: float, unit: str) -> str:
    """Names an arm by what the network sees: "1.25mm", or "5mm upsampled to 1.25mm"."""
    native = f"{resolution:g}{unit}"
    return native if grid == resolution else f"{native} upsampled to {grid:g}{unit}"
