"""CAMELYON16: patches of lymph-node slides with and without metastasis, at several resolutions."""

import functools

from tfds_builders.building import build_configs
from tfds_builders.camelyon16.camelyon16_dataset_builder import Builder, preview
from tfds_builders.camelyon16.survey import check

build = functools.partial(build_configs, Builder)

__all__ = ["Builder", "build", "check", "preview"]
