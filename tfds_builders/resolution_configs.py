"""The configs of a dataset: one a resolution."""

import dataclasses
from collections.abc import Sequence

import tensorflow_datasets as tfds


@dataclasses.dataclass(eq=False)
class ResolutionConfig(tfds.core.BuilderConfig):
    """The same examples, ids and splits as every other config, at one resolution.

    Attributes:
        resolution: mm a voxel, or µm a pixel.
        unit: "mm" or "um".
    """

    resolution: float = 0.0
    unit: str = ""


def resolution_configs(resolutions: Sequence[float], unit: str) -> list[ResolutionConfig]:
    """One config a resolution, finest first, named as in "1.25mm"."""
    return [
        ResolutionConfig(
            name=f"{resolution:g}{unit}",
            description=f"Crops rendered at {resolution:g} {unit}.",
            resolution=resolution,
            unit=unit,
        )
        for resolution in sorted(resolutions)
    ]
