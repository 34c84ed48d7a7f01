"""Patches of lymph-node slides with and without metastasis, at several resolutions."""

import functools

from tfds_builders.building import build_configs
from tfds_builders.metastasis_patches.metastasis_patches_dataset_builder import (
    Builder,
    preview,
)
from tfds_builders.metastasis_patches.survey import check

build = functools.partial(build_configs, Builder)

__all__ = ["Builder", "build", "check", "preview"]
