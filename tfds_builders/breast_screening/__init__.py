"""Screening exams of four mammograms (VinDr-Mammo), at several resolutions."""

import functools

from tfds_builders.breast_screening.breast_screening_dataset_builder import (
    Builder,
    describe_source,
    preview,
)
from tfds_builders.breast_screening.survey import check
from tfds_builders.building import build_configs

build = functools.partial(build_configs, Builder)

__all__ = ["Builder", "build", "check", "describe_source", "preview"]
