"""LUNA16: nodules and non-nodules of chest CT at several resolutions."""

import functools

from tfds_builders.building import build_configs
from tfds_builders.luna16.luna16_dataset_builder import Builder, preview
from tfds_builders.luna16.survey import check

build = functools.partial(build_configs, Builder)

__all__ = ["Builder", "build", "check", "preview"]
