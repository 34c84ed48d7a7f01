"""The dummy data are drawn: narrow films of noise with disks whose places are known."""

import tempfile
from pathlib import Path

import tensorflow_datasets as tfds

from tests.tfds_builders.cbis_ddsm_crops.drawn_release import draw_release
from tfds_builders.cbis_ddsm_crops import Builder


class CbisDdsmCropsTest(tfds.testing.DatasetBuilderTestCase):
    """Tests cbis_ddsm_crops."""

    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["0.4mm", "0.8mm"]  # noqa: RUF012
    SPLITS = {"train": 16, "validation": 4, "test": 6}  # noqa: RUF012

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory()
        cls.EXAMPLE_DIR = draw_release(Path(cls._folder.name) / "dummy_data")
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls._folder.cleanup()

    def _make_builder(self, config=None):
        return Builder(data_dir=self.tmp_dir, config=config, source=self.EXAMPLE_DIR)
