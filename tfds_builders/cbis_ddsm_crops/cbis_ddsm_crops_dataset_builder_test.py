"""The dummy data are drawn: narrow films of noise with disks whose places are known."""

import tensorflow_datasets as tfds

from tests.tfds_builders.cbis_ddsm_crops.drawn_release import draw_release
from tests.tfds_builders.drawn_source import DrawnSource
from tfds_builders.cbis_ddsm_crops import Builder


class CbisDdsmCropsTest(DrawnSource, tfds.testing.DatasetBuilderTestCase):
    """Tests cbis_ddsm_crops."""

    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["0.4mm", "0.8mm"]  # noqa: RUF012
    SPLITS = {"train": 16, "validation": 4, "test": 6}  # noqa: RUF012
    draw = staticmethod(draw_release)
