"""Scans of the user's own, named in a csv file, at several resolutions."""

import functools

from tfds_builders.building import build_configs
from tfds_builders.table.survey import check
from tfds_builders.table.table_dataset_builder import Builder, describe_source, preview

build = functools.partial(build_configs, Builder)

__all__ = ["Builder", "build", "check", "describe_source", "preview"]
