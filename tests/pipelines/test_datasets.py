import pytest

from mlp_med.pipelines.datasets import DESCRIPTIONS, LUNA16, config_name, crop_grid


def test_config_names_are_those_that_users_type():
    assert [config_name(LUNA16, r) for r in LUNA16.resolutions] == [
        "0.625mm",
        "1.25mm",
        "2.5mm",
        "5mm",
    ]
    assert config_name(DESCRIPTIONS["metastasis_patches"], 0.97) == "0.97um"


def test_an_unknown_resolution_names_the_known_ones():
    with pytest.raises(ValueError, match=r"0\.625, 1\.25, 2\.5, 5 mm"):
        config_name(LUNA16, 3.0)


@pytest.mark.parametrize("description", DESCRIPTIONS.values(), ids=lambda d: d.name)
def test_a_shift_by_one_coarsest_voxel_is_whole_at_every_resolution(description):
    for resolution in description.resolutions:
        factor = description.coarsest / resolution
        assert factor == pytest.approx(round(factor))
        grid = crop_grid(description, resolution)
        assert [size * resolution for size in grid] == pytest.approx(description.extents)
        coarsest = crop_grid(description, description.coarsest)
        assert grid == tuple(size * round(factor) for size in coarsest)


@pytest.mark.parametrize("description", DESCRIPTIONS.values(), ids=lambda d: d.name)
def test_descriptions_agree_with_the_builders(description):
    tfds_builders = pytest.importorskip("tfds_builders")
    dataset = tfds_builders.DATASETS[description.name]
    assert dataset.unit == description.unit
    assert dataset.resolutions == description.resolutions
    for config in dataset.builder_class.BUILDER_CONFIGS:
        assert config.name == config_name(description, config.resolution)
