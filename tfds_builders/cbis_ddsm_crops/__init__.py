"""Lesions of mammograms (CBIS-DDSM) in 51.2 mm squares, at several resolutions."""

import functools

from tfds_builders.building import build_configs
from tfds_builders.cbis_ddsm_crops.cbis_ddsm_crops_dataset_builder import (
    Builder,
    describe_source,
    preview,
)
from tfds_builders.cbis_ddsm_crops.survey import check

build = functools.partial(build_configs, Builder)

__all__ = ["Builder", "build", "check", "describe_source", "preview"]
