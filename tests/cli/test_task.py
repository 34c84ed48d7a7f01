"""`--task`: which classes a dataset with several tasks has, as a user types it."""

import pytest

from experiments.sizes import SIZES
from mlp_med.cli import workflow
from mlp_med.cli.datasets import task_option
from mlp_med.errors import DatasetError
from mlp_med.pipelines.datasets import describe
from tests.tfds_builders.cbis_ddsm_crops.drawn_release import draw_release


def test_a_study_builds_what_it_is_told_and_refuses_what_was_built_for_another_task(tmp_path):
    source, data_dir = draw_release(tmp_path / "release"), tmp_path / "data"
    arguments = ("resolution_matters", "cbis_ddsm_crops", "smoke")
    options = task_option("cbis_ddsm_crops", "pathology")
    prepared = workflow.prepare(*arguments, source, data_dir, options)
    assert sorted(prepared.dataset.digests) == [0.4, 0.8]
    assert prepared.dataset.info.num_cases == {"train": 8, "validation": 2, "test": 3}
    assert describe("cbis_ddsm_crops", data_dir).class_names == ("benign", "malignant")
    workflow.prepare(*arguments, None, data_dir, {})  # as it was built
    for given in (source, None):
        with pytest.raises(DatasetError, match="was built with task = pathology, not lesion"):
            workflow.prepare(*arguments, given, data_dir, {"task": "lesion"})


def test_a_dataset_with_one_task_has_no_such_option():
    assert task_option("luna16", None) == {}
    assert task_option("breast_screening", "suspicion") == {"task": "suspicion"}
    with pytest.raises(DatasetError, match=r"--task .* luna16 has one task"):
        task_option("luna16", "pathology")


def test_every_size_renders_what_the_dataset_has(tmp_path):
    of = describe("cbis_ddsm_crops", source=draw_release(tmp_path / "release"))
    for size in SIZES["cbis_ddsm_crops"].values():
        assert set(size.resolutions) <= set(of.resolutions)
        assert set(size.primary) <= set(size.resolutions)
