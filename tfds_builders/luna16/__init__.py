"""LUNA16: nodules and non-nodules of chest CT at several resolutions."""

from tfds_builders.luna16.luna16_dataset_builder import Builder, build, preview
from tfds_builders.luna16.survey import check

__all__ = ["Builder", "build", "check", "preview"]
