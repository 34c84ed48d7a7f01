"""LUNA16 as fields whose nodules lie anywhere in them, with the annotations of these."""

import functools

from tfds_builders.building import build_configs
from tfds_builders.luna16_fields.luna16_fields_dataset_builder import Builder, preview
from tfds_builders.luna16_fields.survey import check

build = functools.partial(build_configs, Builder)

__all__ = ["Builder", "build", "check", "preview"]
