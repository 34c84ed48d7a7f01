"""The dummy data are random numbers: four scans of 8×8×8 voxels, no one's."""

from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders.luna16 import Builder


class Luna16Test(tfds.testing.DatasetBuilderTestCase):
    """Tests luna16."""

    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["1.25mm", "5mm"]  # noqa: RUF012
    # Of each scan one nodule (of two candidates) and two of three non-nodules: one is excluded.
    SPLITS = {"train": 3, "validation": 3, "test": 6}  # noqa: RUF012

    def _make_builder(self, config: object = None) -> Builder:
        return Builder(data_dir=self.tmp_dir, config=config, source=Path(self.dummy_data))


if __name__ == "__main__":
    tfds.testing.test_main()
