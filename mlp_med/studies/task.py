"""What the computed studies ask of: a network on images that people train on."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlp_med.capacity.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something that people train on, at several resolutions.

    Attributes:
        name: for tables, e.g. "nodule, 40 mm".
        unit: of the resolutions.
        resolutions: finest first, each with the grid it gives.
        images: of one example; the four views of a mammography exam go through one network.
        num_channels: of an image.
        native_bytes: of a stored value.
        model: preset.
    """

    name: str
    unit: str
    resolutions: Mapping[float, tuple[int, ...]]
    images: int
    num_channels: int
    native_bytes: int
    model: str

    def workload(self, resolution: float, batch_size: int) -> Workload:
        """So many examples in float32."""
        return Workload(
            model=self.model,
            voxels=self.resolutions[resolution],
            num_channels=self.num_channels,
            batch_size=batch_size * self.images,
            native_bytes=self.native_bytes,
        )
