"""An arm: the cells of a study that differ only in their seeds."""

from dataclasses import dataclass, replace
from typing import Literal

from mlp_med.pipelines.folds import OWN_SPLITS
from mlp_med.studies.cell import Cell, Control, ScoredSplit

# Seeds of one purpose are never those of another: 0, 1, 2 … are the study's own.
FIRST_PILOT_SEED = 1000
FIRST_A_A_SEED = 2000


@dataclass(frozen=True, kw_only=True)
class Arm:
    """An arm as an experiment file writes it; the dataset and the machine add the rest.

    Attributes:
        name: as tables and figures show it, e.g. "5mm upsampled to 1.25mm".
        first_seed: of its cells; the others follow it.
        settings_of: the arm whose learning rate it takes over from the pilot; itself if None.
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
    training_fraction: float = 1.0
    accumulation_steps: int = 1
    moment_window_batch: int = 0
    recompute: bool = False
    stream_tile: int = 0
    stop_at_training_loss: float = 0.0
    split: int = 1
    tile_labels: Literal["image", "bag", "lesion"] = "image"
    augment: bool = True
    first_seed: int = 0
    settings_of: str | None = None

    def cell(
        self,
        *,
        dataset: str,
        dataset_digest: str,
        precision: Literal["float32", "mixed_bfloat16"],
        seed: int,
        fold: int = OWN_SPLITS,
        num_workers: int = 1,
        scored_split: ScoredSplit = "test",
    ) -> Cell:
        """The cell of this arm with its `seed`-th seed."""
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
            accumulation_steps=self.accumulation_steps,
            moment_window_batch=self.moment_window_batch,
            recompute=self.recompute,
            stream_tile=self.stream_tile,
            split=self.split,
            tile_labels=self.tile_labels,
            learning_rate=self.learning_rate,
            budget_examples=self.budget_examples,
            fold=fold,
            training_fraction=self.training_fraction,
            num_evaluations=self.num_evaluations,
            stop_at_training_loss=self.stop_at_training_loss,
            augment=self.augment,
            intra_op_threads=self.intra_op_threads,
            num_workers=num_workers,
            scored_split=scored_split,
            seed=self.first_seed + seed,
        )


def own_controls(arm: Arm) -> tuple[Arm, Arm]:
    """The controls of a study on real data: the arm under other seeds, and on permuted labels."""
    like = replace(arm, settings_of=arm.name)
    return (
        replace(like, name=f"{arm.name}, other seeds", first_seed=FIRST_A_A_SEED),
        replace(like, name=f"{arm.name}, permuted labels", control="permuted"),
    )


def arm_name(resolution: float, grid: float, unit: str) -> str:
    """Names an arm by what the network sees: "1.25mm", or "5mm upsampled to 1.25mm"."""
    native = f"{resolution:g}{unit}"
    return native if grid == resolution else f"{native} upsampled to {grid:g}{unit}"
