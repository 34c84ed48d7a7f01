"""The dummy data are luna16's, random numbers, spread: its nodules would lie in every field."""

import shutil
from pathlib import Path

import pandas as pd
import tensorflow_datasets as tfds

from tests.tfds_builders.drawn_source import DrawnSource
from tfds_builders import luna16
from tfds_builders.luna16_fields import Builder

SPREAD = 4  # times as far apart, and voxels of 20 mm


def spread_source(folder: Path) -> Path:
    """luna16's dummy data with every length but the nodules' diameters multiplied."""
    shutil.copytree(Path(luna16.__file__).parent / "dummy_data", folder)
    for header in folder.rglob("*.mhd"):
        spacing = " ".join([str(5 * SPREAD)] * 3)
        header.write_text(header.read_text().replace("Spacing = 5 5 5", f"Spacing = {spacing}"))
    for table in ("annotations.csv", "annotations_excluded.csv", "candidates_V2.csv"):
        rows = pd.read_csv(folder / table)
        rows[["coordX", "coordY", "coordZ"]] *= SPREAD
        rows.to_csv(folder / table, index=False)
    return folder


class Luna16FieldsTest(DrawnSource, tfds.testing.DatasetBuilderTestCase):
    """Tests luna16_fields."""

    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["1.25mm", "5mm"]  # noqa: RUF012
    SPLITS = {"train": 3, "validation": 3, "test": 6}  # noqa: RUF012
    draw = staticmethod(spread_source)


if __name__ == "__main__":
    tfds.testing.test_main()
