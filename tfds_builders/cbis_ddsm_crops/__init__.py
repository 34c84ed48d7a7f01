"""Lesions of mammograms (CBIS-DDSM) in 51.2 mm squares, at several resolutions."""

import functools

from tfds_builders.cbis_ddsm_crops.cbis_ddsm_crops_dataset_builder import (
    Builder,
    describe_source,
    preview,
)
from tfds_builders.cbis_ddsm_crops.survey import check
from tfds_builders.local_source_builder import build_configs

build = functools.partial(build_configs, Builder)

__all__ = ["Builder", "build", "check", "describe_source", "preview"]
