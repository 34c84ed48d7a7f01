"""Fields of a tiny source: where they lie, what their labels and lesions are."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow_datasets as tfds

from mlp_med.imaging.lesion_tiles import tiles_with_lesion
from mlp_med.pipelines.arrays import load_split
from mlp_med.pipelines.datasets import LUNA16_FIELDS
from mlp_med.pipelines.tile_labels import labels_of_tiles
from tfds_builders import luna16, luna16_fields
from tfds_builders.luna16.candidates import CENTRE
from tfds_builders.luna16.survey import survey_source
from tfds_builders.luna16_fields.fields import LARGEST_OFFSET_MM, displaced_fields, offset_mm
from tfds_builders.luna16_fields.survey import survey_fields

EXTENTS = (40.0, 40.0, 40.0)


@pytest.fixture(scope="module")
def source(make_source, tmp_path_factory):
    return make_source(tmp_path_factory.mktemp("fields") / "source", 10)


@pytest.fixture(scope="module")
def data_dir(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields-data")
    luna16_fields.build(source.root, folder, [2.5, 5.0], num_workers=1)
    return folder


@pytest.fixture(scope="module")
def examples(data_dir):
    found = {}
    for resolution in ("2.5mm", "5mm"):
        builder = luna16_fields.Builder(config=resolution, data_dir=data_dir)
        for split in builder.info.splits:
            for example in tfds.as_numpy(builder.as_dataset(split=split)):
                found[resolution, example["id"].decode()] = example
    return found


def nodules_of(source, series):
    rows = [line.split(",") for line in source.annotations[1:]]
    return np.array([[float(v) for v in row[1:]] for row in rows if row[0] == series])


def test_labels_and_lesions_are_those_of_the_annotations_in_the_field(source, examples):
    assert len(examples) > 80
    labels = set()
    for example in examples.values():
        offsets = nodules_of(source, example["patient"].decode()) - [*example["centre_mm"], 0]
        centred = (np.abs(offsets[:, :3]) <= 20).all(axis=1)
        assert example["label"] == centred.any()
        labels.add(int(example["label"]))
        largest = offsets[centred, 3].max(initial=0)
        assert example["diameter_mm"] == pytest.approx(largest)
        lesions = example["lesions_mm"]
        kept = lesions[lesions[:, 3] > 0]
        assert not lesions[len(kept) :].any()  # the lesions first, then zeros
        reaches = np.linalg.norm(np.maximum(np.abs(offsets[:, :3]) - 20, 0), axis=1)
        expected = offsets[reaches < offsets[:, 3] / 2][:, [2, 1, 0, 3]]
        in_order = lambda rows: rows[np.lexsort(rows.T)]  # noqa: E731
        np.testing.assert_allclose(in_order(kept), in_order(expected), atol=1e-4)
        assert tiles_with_lesion(lesions, 1, EXTENTS)[0] == example["label"]
    assert labels == {0, 1}


def test_both_resolutions_hold_the_same_fields(examples):
    fine = {name for resolution, name in examples if resolution == "2.5mm"}
    assert fine == {name for resolution, name in examples if resolution == "5mm"}
    for name in fine:
        for feature in ("label", "lesions_mm", "centre_mm", "fold"):
            pair = [examples[resolution, name][feature] for resolution in ("2.5mm", "5mm")]
            np.testing.assert_array_equal(*pair)


def test_a_field_lies_where_its_candidate_sends_it_whatever_its_class(source):
    survey = survey_source(source.root)
    annotations = pd.DataFrame({"series": [], **{name: [] for name in CENTRE}, "diameter_mm": []})
    # Without a nodule in any scan every field has label 0: their centres are the same all the same.
    without = displaced_fields(survey.examples, annotations, survey.scans).examples
    by_id = survey_fields(source.root).examples.set_index("id")
    assert set(by_id.index) < set(without["id"])
    assert not without["label"].any()
    flipped = survey.examples.assign(label=1 - survey.examples["label"])
    again = displaced_fields(flipped, annotations, survey.scans).examples
    pd.testing.assert_frame_equal(without, again)


def test_offsets_are_uniform_and_independent_along_the_axes():
    drawn = np.array([offset_mm(f"{number:016x}") for number in range(4000)])
    assert np.abs(drawn).max() <= LARGEST_OFFSET_MM
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.5)
    np.testing.assert_allclose(drawn.std(axis=0), LARGEST_OFFSET_MM / 3**0.5, rtol=0.03)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.06


def test_a_field_that_a_nodule_only_reaches_into_is_left_out(source):
    fields = survey_fields(source.root)
    reached = fields.skipped["fields that a nodule only reaches into"]
    outside = fields.skipped["fields whose centre lies outside the scan"]
    assert reached > 0
    assert len(fields.examples) + reached + outside == len(survey_source(source.root).examples)


def test_a_drawn_lesion_is_bright_just_in_the_tiles_that_its_label_names(make_source, tmp_path):
    source = make_source(tmp_path / "source", 4)
    for number in range(4):  # air, and in it the annotated balls
        header, voxels = source.scan_file(number), source.scan_file(number, ".raw")
        z, y, x = np.meshgrid(*[np.arange(24) * 2.5] * 3, indexing="ij")
        places = np.stack([x - 30, y - 30, z - 100], axis=-1)
        image = np.full((24,) * 3, -1000, np.int16)
        for *centre, diameter in nodules_of(source, header.stem):
            image[np.linalg.norm(places - centre, axis=-1) < diameter / 2] = 400
        voxels.write_bytes(image.tobytes())
    luna16_fields.build(source.root, tmp_path / "data", [2.5], num_workers=1)
    seen = 0
    for split in ("train", "validation", "test"):
        held = load_split("luna16_fields", tmp_path / "data", 2.5, split)
        every = np.arange(len(held))
        of_tiles = labels_of_tiles(held, every, None, split=2, description=LUNA16_FIELDS)
        halves = held.images[..., 0].reshape(len(held), 2, 8, 2, 8, 2, 8)
        brightest = halves.max(axis=(2, 4, 6)).reshape(len(held), 8)
        # What interpolation spreads beyond a ball is fainter than a voxel within it.
        assert (of_tiles[brightest > -200] == 1).all()
        assert (brightest[of_tiles == 0] < -200).all()
        np.testing.assert_array_equal(of_tiles.any(axis=1), held.labels)
        seen += int(of_tiles.sum())
    assert seen > 20


def test_a_split_keeps_lesions_and_seams_when_rows_are_taken(data_dir):
    train = load_split("luna16_fields", data_dir, 5.0, "train")
    assert {"uncut_by_2_tiles", "uncut_by_4_tiles"} <= set(train.strata)
    # A border of the coarser grid is one of the finer, too.
    assert (train.strata["uncut_by_4_tiles"] <= train.strata["uncut_by_2_tiles"]).all()
    few = train.take(np.array([3, 5]))
    np.testing.assert_array_equal(few.lesions_mm, train.lesions_mm[[3, 5]])


def test_luna16_itself_is_as_it_was(make_source, tmp_path):
    source = make_source(tmp_path / "source", 5)
    (builder,) = luna16.build(source.root, tmp_path / "data", [5.0], num_workers=1)
    # The digest of the version before luna16_fields existed.
    assert builder.info.metadata["examples_digest"] == "028d471bd7445795db08bae3c14c6a2a"


def test_the_check_counts_fields_by_their_own_label(source):
    report = luna16_fields.check(source.root)
    assert report.dataset == "luna16_fields"
    assert not report.problems
    counts = report.examples["train"]
    assert set(counts) == {"no nodule", "nodule"}
    assert (
        counts["nodule"]
        == (survey_fields(source.root).examples.query("split == 'train'").label).sum()
    )


def test_a_directory_that_is_no_release_is_a_problem_of_the_report(tmp_path: Path):
    assert luna16_fields.check(tmp_path).problems


def test_a_preview_shows_both_classes(source):
    cases = luna16_fields.luna16_fields_dataset_builder.preview(source.root, 2, [5.0])
    assert {case.label for case in cases} == {"nodule", "no nodule"}
    assert all(case.crops["5mm"].shape == (8, 8, 8, 1) for case in cases)
