"""Patches of lymph-node slides with and without metastasis, at several resolutions."""

from tfds_builders.metastasis_patches.metastasis_patches_dataset_builder import (
    Builder,
    build,
    preview,
)
from tfds_builders.metastasis_patches.survey import check

__all__ = ["Builder", "build", "check", "preview"]
