"""The dummy data are drawn: half disks on coarse pixels."""

import tensorflow_datasets as tfds

from tests.tfds_builders.breast_screening.drawn_exams import write_exams
from tests.tfds_builders.drawn_source import DrawnSource
from tfds_builders.breast_screening import Builder


class BreastScreeningTest(DrawnSource, tfds.testing.DatasetBuilderTestCase):
    """Tests breast_screening."""

    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["0.8mm"]  # noqa: RUF012
    SPLITS = {"train": 4, "validation": 3, "test": 4}  # noqa: RUF012
    draw = staticmethod(write_exams)
