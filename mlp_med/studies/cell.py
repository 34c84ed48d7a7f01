"""A cell: the frozen value of one training run. Its hash names the run."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self

from mlp_med.errors import StudyError

Control = Literal["none", "information", "permuted"]
ScoredSplit = Literal["test", "validation"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Everything that decides the weights and the predictions of one training run.

    Attributes:
        dataset: name of the TFDS builder.
        dataset_digest: digest of the parsed examples at this resolution.
        resolution: mm per voxel (µm per pixel for slides) of the information in the crop.
        grid: spacing of the grid that the network sees; finer than `resolution` only under the
            information control.
        control: "information" when the coarse crop is upsampled to a finer grid; "permuted" when
            the labels of the training and the validation split are permuted.
        model: name of a preset in `mlp_med.models.presets`.
        depth: "fixed" (the same network at every resolution) or "matched" (a stage more per
            octave, so that the receptive field stays the same in mm).
        norm: "batch", "group" or "none".
        precision: a Keras dtype policy, "float32" or "mixed_bfloat16".
        global_batch_size: examples in one optimiser step, over all replicas.
        accumulation_steps: micro-batches that the global batch is computed in, one after the other.
        moment_window_batch: global batch at which Adam's usual decay rates hold, so that its
            moments average over as many examples as they would there; 0 for the usual rates.
        recompute: whether activations are computed again for the backward pass where that is cheap.
        stream_tile: edge in voxels of the tiles that all stages but the last are run in, one after
            the other with the whole image's gradient; 0 for the whole at once.
        split: tiles along each axis that an image is trained and scored as; 1 for the whole image.
        tile_labels: "image" when each tile has the image's label, "bag" when the image is a bag of
            its tiles, "lesion" when a tile's label is whether it holds part of a drawn lesion. The
            budget counts images in every case.
        learning_rate: peak of the warm-up and cosine schedule.
        budget_examples: training examples seen, repeats included; a multiple of the batch.
        fold: of the dataset's cross-validation, tested by this cell; -1 for the splits that the
            dataset was built with.
        training_fraction: of the training set, in whole patients; in (0, 1].
        num_evaluations: how often the validation split is scored on the way.
        stop_at_training_loss: training ends at the first evaluation where the mean loss over the
            whole training split is at most this, with the weights of that moment, whose sharpness
            is then measured; 0 trains the whole budget and keeps the weights that validated best.
        augment: whether training crops are flipped, rotated and shifted.
        intra_op_threads: threads of one operation; 1, 2 and 4 train different weights.
        num_workers: processes that train the cell together, each a share of every batch; they
            round otherwise than one, as threads do.
        scored_split: whose predictions the cell is for; "validation" in a pilot, which must not
            see the test split.
        seed: initialisation, order, augmentation and the patients of a fraction are each drawn
            from it under their own name.
    """

    dataset: str
    dataset_digest: str
    resolution: float
    grid: float
    control: Control
    model: str
    depth: Literal["fixed", "matched"]
    norm: Literal["batch", "group", "none"]
    precision: Literal["float32", "mixed_bfloat16"]
    global_batch_size: int
    accumulation_steps: int
    moment_window_batch: int
    recompute: bool
    stream_tile: int
    split: int
    tile_labels: Literal["image", "bag", "lesion"]
    learning_rate: float
    budget_examples: int
    fold: int
    training_fraction: float
    num_evaluations: int
    stop_at_training_loss: float
    augment: bool
    intra_op_threads: int
    num_workers: int
    scored_split: ScoredSplit
    seed: int

    def __post_init__(self) -> None:
        if self.budget_examples % self.global_batch_size:
            nearest = max(1, round(self.budget_examples / self.global_batch_size))
            raise StudyError(
                f"budget_examples must be a multiple of global_batch_size {self.global_batch_size},"
                f" got {self.budget_examples}; the nearest is {nearest * self.global_batch_size}"
            )
        if self.accumulation_steps < 1 or self.global_batch_size % self.accumulation_steps:
            raise StudyError(
                f"accumulation_steps must divide global_batch_size {self.global_batch_size}, got "
                f"{self.accumulation_steps}"
            )
        if self.moment_window_batch < 0:
            raise StudyError(
                "moment_window_batch must be a global batch, or 0 for the usual rates, got "
                f"{self.moment_window_batch}"
            )
        micro_batch_size = self.global_batch_size // self.accumulation_steps
        if self.num_workers < 1 or micro_batch_size % self.num_workers:
            raise StudyError(
                f"num_workers must divide the {micro_batch_size} examples that are computed at "
                f"once (global_batch_size / accumulation_steps), got {self.num_workers}"
            )
        if self.stream_tile < 0:
            raise StudyError(
                f"stream_tile must be a number of voxels, or 0 for the whole at once, got "
                f"{self.stream_tile}"
            )
        if self.stream_tile and self.norm != "none":
            raise StudyError(
                f"stream_tile needs norm 'none', since no tile has the statistics of norm "
                f"{self.norm!r}; got tiles of {self.stream_tile} voxels"
            )
        if self.split < 1 or (self.split == 1 and self.tile_labels != "image"):
            raise StudyError(
                "split must be at least 1 tile an axis, and at least 2 for a bag or for labels of "
                f"lesions, got {self.split} with tile_labels {self.tile_labels!r}"
            )
        if self.tile_labels == "lesion" and self.control == "permuted":
            raise StudyError(
                "control 'permuted' permutes the images' labels, which tile_labels 'lesion' does "
                "not train on; take tile_labels 'image' or 'bag'"
            )
        if self.tile_labels == "bag" and self.norm == "batch":
            raise StudyError(
                "tile_labels 'bag' needs norm 'group' or 'none': its tiles are scored before they "
                "are trained, and batch statistics would count them twice; got norm 'batch'"
            )
        if not 0 < self.training_fraction <= 1:
            raise StudyError(
                f"training_fraction must be above 0 and at most 1, got {self.training_fraction:g}"
            )
        if not 0 <= self.stop_at_training_loss < float("inf"):
            raise StudyError(
                "stop_at_training_loss must be 0, for none, or a positive loss, got "
                f"{self.stop_at_training_loss:g}"
            )
        if (self.control == "information") != (self.grid < self.resolution):
            raise StudyError(
                "control 'information' means a grid finer than the resolution, got "
                f"control {self.control!r} with resolution {self.resolution} on grid {self.grid}"
            )

    @property
    def hash(self) -> str:
        """16 hexadecimal digits of the SHA-256 over every field."""
        canonical = json.dumps(self.to_params(), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def arm_key(self) -> Self:
        """The cell without seed and fold: two cells are of one arm when these are equal."""
        return replace(self, seed=0, fold=min(self.fold, 0))

    def seed_for(self, purpose: str) -> int:
        """A 31-bit seed for one purpose ("initialisation", "order"), unlike any other's."""
        digest = hashlib.sha256(f"{purpose}/{self.seed}".encode()).digest()
        return int.from_bytes(digest[:4], "little") & 0x7FFFFFFF

    def to_params(self) -> dict[str, str | int | float | bool]:
        """Every field by its name, as the ledger keeps it."""
        return asdict(self)

    @classmethod
    def from_params(cls, params: Mapping[str, str | int | float | bool]) -> Self:
        """Reads a cell back from the ledger, whose params are text.

        Raises:
            StudyError: a field is missing, unknown or of the wrong kind.
        """
        known = {field.name: field.type for field in fields(cls)}
        if set(params) != set(known):
            raise StudyError(
                f"expected the fields {sorted(known)} of a cell, got {sorted(params)}; "
                "the run was written by another version of mlp_med"
            )
        return cls(**{name: _parse(known[name], value) for name, value in params.items()})


def _parse(kind: object, value: str | int | float | bool) -> Any:
    if kind is bool:
        if str(value) not in ("True", "False"):
            raise StudyError(f"expected True or False, got {value!r}")
        return str(value) == "True"
    try:
        return int(value) if kind is int else float(value) if kind is float else str(value)
    except ValueError as error:
        raise StudyError(f"expected a number, got {value!r}") from error
