"""CAMELYON16: patches of lymph-node slides with and without metastasis, at several resolutions."""

import functools

from tfds_builders.camelyon16.camelyon16_dataset_builder import Builder, preview
from tfds_builders.camelyon16.survey import check
from tfds_builders.local_source_builder import build_configs

build = functools.partial(build_configs, Builder)

__all__ = ["Builder", "build", "check", "preview"]
