"""Kaggle's Data Science Bowl 2017: whole lungs in CT, with and without cancer within a year."""

import functools

from tfds_builders.building import build_configs
from tfds_builders.dsb2017.dsb2017_dataset_builder import Builder, preview
from tfds_builders.dsb2017.survey import check

build = functools.partial(build_configs, Builder)

__all__ = ["Builder", "build", "check", "preview"]
