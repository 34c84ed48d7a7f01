"""A workload: what decides how much memory and arithmetic one training step takes."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from mlp_med.errors import CapacityError
from mlp_med.models.presets import preset_arguments
from mlp_med.training.precision import Precision


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One device's part of a training step, without its data.

    Attributes:
        model: name of a preset in `mlp_med.models.presets`.
        voxels: edges of the grid that the network sees, e.g. (64, 64, 64) or (2600, 2000).
        num_channels: of the input.
        batch_size: examples whose activations are held at once; with accumulation the micro-batch.
        precision: a Keras dtype policy.
        norm: "batch", "group" or "none".
        num_extra_stages: put before the others, as in `build_model`.
        accumulation_steps: micro-batches in one optimiser step.
        recompute: whether what a normalisation can give again is not kept.
        stream_tile: edge of the tiles that the first stages are run in (`build_model`); 0 for none.
        split: tiles along each axis that an image is trained as, one after the other
            (`mlp_med.training.tiles`).
        native_bytes: of one stored value of the dataset; 2 for HU, 1 for 8-bit pixels.
    """

    model: str
    voxels: tuple[int, ...]
    num_channels: int
    batch_size: int
    precision: Precision = "float32"
    norm: Literal["batch", "group", "none"] = "batch"
    num_extra_stages: int = 0
    accumulation_steps: int = 1
    recompute: bool = False
    stream_tile: int = 0
    split: int = 1
    native_bytes: int = 2

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.accumulation_steps < 1 or min(self.voxels) < 1:
            raise CapacityError(
                "expected at least one example, one micro-batch and one voxel along every edge, "
                f"got {self.batch_size}, {self.accumulation_steps} and {self.grid}"
            )
        if self.split < 1 or any(edge % self.split for edge in self.voxels):
            raise CapacityError(
                f"expected a number of tiles that divides every edge of {self.grid}, got "
                f"{self.split}"
            )
        if self.stream_tile < 0:
            raise CapacityError(
                "expected streamed tiles of at least one voxel, or 0 for the whole at once, got "
                f"{self.stream_tile}"
            )
        if self.stream_tile and self.norm != "none":
            raise CapacityError(
                f"stages stream in tiles with norm none alone, got {self.norm}: no tile has the "
                "statistics of a whole batch"
            )
        views = int(preset_arguments(self.model).get("num_views", 1))
        if self.num_channels % views:
            raise CapacityError(
                f"{self.model} takes {views} views that share the channels, got "
                f"{self.num_channels} channels; choose a network of one view"
            )

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return len(self.voxels)

    @property
    def stride(self) -> int:
        """Voxels along an edge of the stem's blocks."""
        return int(preset_arguments(self.model)["stem_stride"])

    @property
    def last_stride(self) -> int:
        """Voxels along an edge that one position of the last stage's grid stands for."""
        stages = self.num_extra_stages + len(preset_arguments(self.model)["widths"])
        return int(self.stride * 2 ** (stages - 1))

    @property
    def grid(self) -> str:
        """The grid for a reader, e.g. "64×64×64"."""
        return "×".join(map(str, self.voxels))

    @property
    def num_voxels(self) -> int:
        """Of one example."""
        return math.prod(self.voxels)

    @property
    def num_tiles(self) -> int:
        """That one example is trained as."""
        return int(self.split**self.spatial_dims)

    @property
    def tile_voxels(self) -> tuple[int, ...]:
        """Edges of what the network sees at once: a tile, or all."""
        return tuple(edge // self.split for edge in self.voxels)

    def with_batch(self, batch_size: int) -> Self:
        """The same with another batch."""
        return replace(self, batch_size=batch_size)

    def model_arguments(self) -> dict[str, Any]:
        """Arguments of `mlp_med.models.residual.build_model`."""
        return {
            "spatial_dims": self.spatial_dims,
            "num_channels": self.num_channels,
            "num_extra_stages": self.num_extra_stages,
            "norm": self.norm,
            "recompute": self.recompute,
            "stream_tile": self.stream_tile,
            **preset_arguments(self.model),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "voxels": list(self.voxels)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Back from `to_dict`."""
        return cls(**{**values, "voxels": tuple(values["voxels"])})
