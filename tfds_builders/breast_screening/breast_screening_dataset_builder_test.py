"""The dummy data are drawn: half disks on coarse pixels."""

import tempfile
from pathlib import Path

import tensorflow_datasets as tfds

from tests.tfds_builders.breast_screening.drawn_exams import write_exams
from tfds_builders.breast_screening import Builder


class BreastScreeningTest(tfds.testing.DatasetBuilderTestCase):
    """Tests breast_screening."""

    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["0.8mm"]  # noqa: RUF012
    SPLITS = {"train": 4, "validation": 3, "test": 4}  # noqa: RUF012

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory()
        cls.EXAMPLE_DIR = write_exams(Path(cls._folder.name) / "dummy_data")
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls._folder.cleanup()

    def _make_builder(self, config=None):
        return Builder(data_dir=self.tmp_dir, config=config, source=self.EXAMPLE_DIR)
