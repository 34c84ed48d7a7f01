import numpy as np
import pytest
import tensorflow_datasets as tfds

from mlp_med.errors import DatasetError
from mlp_med.pipelines import arrays
from mlp_med.pipelines.arrays import collect, load_split, read_builder

SHAPE = (4, 4, 4, 1)


def record(number, label=None):
    return {
        "image": np.full(SHAPE, number - 1000, np.int16),
        "label": number % 2 if label is None else label,
        "id": f"crop {number:03d} é",
        "patient": f"patient {number // 2}",
        "centre_mm": np.float32([number, 0, 0]),
        "diameter_mm": np.float32(number / 10),
        "native_spacing_mm": np.float32([0.7, 0.6, 1 + number]),
        "kind": number % 3 % 2,
        "density": 1 + number % 4,
    }


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """What `read_builder` needs of a dataset; records come shuffled, in two shards."""

    VERSION = tfds.core.Version("1.0.0")
    name = "pretended"

    def _info(self):
        features = {
            "image": tfds.features.Tensor(shape=SHAPE, dtype=np.int16, encoding="bytes"),
            "label": tfds.features.ClassLabel(num_classes=2),
            "id": tfds.features.Text(),
            "patient": tfds.features.Text(),
            "centre_mm": tfds.features.Tensor(shape=(3,), dtype=np.float32),
            "diameter_mm": tfds.features.Scalar(dtype=np.float32),
            "native_spacing_mm": tfds.features.Tensor(shape=(3,), dtype=np.float32),
            "kind": tfds.features.ClassLabel(names=["mass", "calcification"]),
            "density": tfds.features.Scalar(dtype=np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(
                source_digest="abc", examples_digest="def", phantom=True
            ),
        )

    def _split_generators(self, dl_manager):
        return {
            "train": ((n, record(n)) for n in range(300)),
            "test": ((n, record(n, label=0)) for n in range(8)),
        }

    def _generate_examples(self):
        raise NotImplementedError


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    builder = Builder(data_dir=tmp_path_factory.mktemp("data"), file_format="tfrecord")
    config = tfds.download.DownloadConfig(num_shards=3, try_download_gcs=False)
    builder.download_and_prepare(download_config=config)
    return builder


def test_reads_every_column_in_the_order_of_the_ids(builder):
    stored = [e["id"].decode() for e in tfds.as_numpy(builder.as_dataset(split="train"))]
    assert stored != sorted(stored)
    examples = read_builder(builder, "train")
    assert len(examples) == 300
    expected = [record(number) for number in range(300)]
    assert examples.ids.tolist() == [row["id"] for row in expected]
    assert examples.patients.tolist() == [row["patient"] for row in expected]
    assert examples.labels.dtype == np.int8
    np.testing.assert_array_equal(examples.labels, [row["label"] for row in expected])
    assert examples.images.dtype == np.int16
    np.testing.assert_array_equal(examples.images, np.stack([row["image"] for row in expected]))
    assert set(examples.strata) == {"diameter_mm", "native_spacing_mm", "kind", "density"}
    np.testing.assert_allclose(examples.strata["diameter_mm"], np.arange(300) / 10, rtol=1e-6)
    np.testing.assert_array_equal(examples.strata["native_spacing_mm"], 1 + np.arange(300))
    np.testing.assert_array_equal(examples.strata["density"], 1 + np.arange(300) % 4)
    kinds = ["mass", "calcification", "mass"] * 100
    assert examples.strata["kind"].tolist() == kinds
    numbers = [column for name, column in examples.strata.items() if name != "kind"]
    assert {column.dtype.name for column in numbers} == {"float32"}
    assert (examples.source, examples.digest, examples.phantom) == ("abc", "def", True)


def test_says_what_it_holds_in_memory(builder):
    examples = read_builder(builder, "train")
    assert examples.images.nbytes == 300 * 4**3 * 2
    assert examples.images.nbytes < examples.num_bytes < examples.images.nbytes + 300 * 200


def test_images_lie_where_tensorflow_can_share_them(builder):
    assert read_builder(builder, "train").images.ctypes.data % arrays.ALIGNMENT_BYTES == 0


def test_a_split_of_one_class_is_refused(builder):
    with pytest.raises(
        DatasetError, match=r"split 'test' of pretended/1\.0\.0.* 8 examples of cla"
    ):
        read_builder(builder, "test")


def test_a_split_that_was_never_written_is_refused(builder):
    with pytest.raises(DatasetError, match="there is no split 'validation'"):
        read_builder(builder, "validation")


def test_an_unknown_split_is_refused_before_anything_is_opened(tmp_path):
    with pytest.raises(DatasetError, match="train, validation, test, got 'val'"):
        load_split("luna16", tmp_path, 5.0, "val")


def batch(*records):
    return {key: np.array([row[key] for row in records]) for key in records[0]}


def test_an_id_that_comes_twice_is_named():
    with pytest.raises(DatasetError, match="'crop 001 é' more than once"):
        collect([batch(record(0), record(1)), batch(record(1))], where="it")


def test_a_label_beyond_0_and_1_is_named():
    with pytest.raises(DatasetError, match=r"labels 0 and 1 in it, got \[0, 1, 2\]"):
        collect([batch(record(0), record(1), record(2, label=2))], where="it")


def test_nothing_at_all_is_refused():
    with pytest.raises(DatasetError, match="it holds no examples"):
        collect([], where="it")


def test_without_images_all_else_is_the_same(builder):
    whole, light = (read_builder(builder, "train", with_images=w) for w in (True, False))
    assert light.images.shape == (300, 0)
    for name in ("labels", "ids", "patients", "folds"):
        np.testing.assert_array_equal(getattr(light, name), getattr(whole, name))
    assert {k: v.tolist() for k, v in light.strata.items()} == {
        k: v.tolist() for k, v in whole.strata.items()
    }
    assert (light.digest, light.source, light.phantom) == ("def", "abc", True)
    assert light.num_bytes < whole.num_bytes


def test_patients_and_strata_may_be_missing():
    kept = ("image", "label", "id")
    rows = [{name: record(n)[name] for name in kept} for n in range(2)]
    examples = collect([batch(*({**row, "patient": ""} for row in rows))], where="it")
    assert examples.patients.tolist() == ["", ""]
    assert examples.strata == {}
