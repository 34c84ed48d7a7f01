from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfds_builders
from mlp_med.errors import DatasetError
from mlp_med.pipelines.arrays import load_split
from mlp_med.pipelines.datasets import LUNA16, DatasetDescription, crop_grid, describe


def test_a_dataset_of_a_fixed_release_needs_no_directory():
    assert describe("luna16") is LUNA16


def test_an_unknown_dataset_names_the_known_ones():
    with pytest.raises(DatasetError, match=r"luna16, .*metastasis_patches, .*table"):
        describe("ct")


def test_a_users_own_scans_are_described_by_what_was_built_of_them(tmp_path: Path):
    lines = ["path,patient,label,split"]
    for number, split in enumerate(["train", "train", "validation", "validation", "test", "test"]):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,P{number},{number % 2},{split}")
    source = tmp_path / "scans.csv"
    source.write_text("\n".join(lines))
    data_dir = tmp_path / "data"
    with pytest.raises(DatasetError, match="table is not built"):
        describe("table", data_dir)
    before = describe("table", data_dir, source=source, spacing_mm=0.5)
    tfds_builders.DATASETS["table"].build(source, data_dir, num_workers=1, spacing_mm=0.5)
    built = describe("table", data_dir)
    assert built == before
    assert built == DatasetDescription(
        name="table",
        unit="mm",
        resolutions=(0.5, 1.0, 2.0),
        field_extent=16.0,
        spatial_dims=2,
        num_channels=1,
        intensity_window=(0.0, 255.0),
        patients_known=True,
        class_names=("negative", "positive"),
        label_at_centre=False,
    )
    for resolution in built.resolutions:
        grid = crop_grid(built, resolution)
        assert load_split("table", data_dir, resolution, "test").images.shape == (2, *grid, 1)
