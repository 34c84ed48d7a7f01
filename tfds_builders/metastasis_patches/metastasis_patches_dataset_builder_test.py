import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import tfds_builders
from mlp_med.errors import DatasetError, ImageError, SourceError
from tests.tfds_builders.drawn_source import DrawnSource
from tfds_builders.metastasis_patches import Builder, build, check, preview
from tfds_builders.metastasis_patches.survey import split_of

REAL = Path(__file__).parents[3] / "shared/real/pcam"
NUM_PATCHES = 80
RESOLUTIONS = (0.97, 1.94, 3.88, 7.76)


def draw_source(root: Path, num_patches: int = NUM_PATCHES) -> Path:
    """Draws patches of pink noise, darker in the centre of every other one, which is positive."""
    rng = np.random.default_rng(0)
    (root / "train").mkdir(parents=True)
    lines = ["id,label"]
    for number in range(num_patches):
        pixels = rng.normal((220, 160, 200), 12, (96, 96, 3))
        positive = number % 2 == 0
        if positive:
            pixels[32:64, 32:64] -= 70
        patch_id = f"{number:040x}"
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        image.save(root / "train" / f"{patch_id}.tif")
        lines.append(f"{patch_id},{int(positive)}")
    (root / "train_labels.csv").write_text("\n".join(lines) + "\n")
    return root


def expected_splits(num_patches: int = NUM_PATCHES) -> dict[str, int]:
    splits = [split_of(f"{number:040x}") for number in range(num_patches)]
    return {name: splits.count(name) for name in ("train", "validation", "test")}


class MetastasisPatchesTest(DrawnSource, tfds.testing.DatasetBuilderTestCase):
    """Tests for the metastasis_patches dataset; its dummy data are drawn here."""

    DATASET_CLASS = Builder
    SPLITS = expected_splits()
    draw = staticmethod(draw_source)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return draw_source(tmp_path / "source")


def nothing_is_left(data_dir: Path) -> bool:
    """Whether neither a dataset nor a part of one is there; crops that wait are no dataset."""
    return not list(data_dir.glob("metastasis_patches/**/*.*"))


def everything(builder: tfds.core.DatasetBuilder) -> dict[str, dict[str, dict]]:
    return {
        split: {
            example["id"].decode(): example for example in tfds.as_numpy(builder.as_dataset(split))
        }
        for split in builder.info.splits
    }


def test_the_same_ids_labels_and_splits_at_every_resolution(source: Path, tmp_path: Path):
    calls = []
    builders = build(source, tmp_path / "data", num_workers=2, progress=lambda *a: calls.append(a))
    assert [builder.builder_config.resolution for builder in builders] == list(RESOLUTIONS)
    assert ("rendering patches", NUM_PATCHES, NUM_PATCHES) in calls
    finest = everything(builders[0])
    assert {split: len(of) for split, of in finest.items()} == expected_splits()
    for builder, size in zip(builders, (96, 48, 24, 12), strict=True):
        examples = everything(builder)
        for split, of in examples.items():
            assert of.keys() == finest[split].keys()
            for patch_id, example in of.items():
                assert split_of(patch_id) == split
                assert example["label"] == finest[split][patch_id]["label"]
                assert example["image"].shape == (size, size, 3)
                assert example["patient"] == b""
                difference = example["image"].mean() - finest[split][patch_id]["image"].mean()
                assert abs(difference) < 3
        metadata = builder.info.metadata
        assert metadata["phantom"] is False
        assert metadata["unit"] == "um"
        assert metadata["source_digest"] == check(source).digest
    digests = [builder.info.metadata["examples_digest"] for builder in builders]
    assert len(set(digests)) == len(RESOLUTIONS)
    assert not (tmp_path / "data" / ".crops").exists()


def test_native_pixels_are_unchanged_and_plain_load_works(source: Path, tmp_path: Path):
    dataset = tfds.load(
        "metastasis_patches/0.97um",
        data_dir=tmp_path / "data",
        builder_kwargs={"source": source},
        split="train+validation+test",
    )
    for example in tfds.as_numpy(dataset):
        path = source / "train" / f"{example['id'].decode()}.tif"
        np.testing.assert_array_equal(example["image"], np.array(Image.open(path)))
    opened = tfds_builders.open_config("metastasis_patches", 0.97, tmp_path / "data")
    assert opened.info.splits.total_num_examples == NUM_PATCHES


def test_a_split_depends_on_the_id_alone(source: Path, tmp_path: Path):
    table = source / "train_labels.csv"
    header, *records = table.read_text().splitlines()
    table.write_text("\n".join([header, *reversed(records[:-5])]))
    (builder,) = build(source, tmp_path / "data", [7.76])
    for split, of in everything(builder).items():
        assert {split_of(patch_id) for patch_id in of} == {split}
    assert builder.info.splits.total_num_examples == NUM_PATCHES - 5
    assert check(source).skipped == {"patches without a label": 5}


def test_splits_have_their_shares():
    splits = [split_of(f"{number:x}") for number in range(20_000)]
    assert splits.count("train") / 20_000 == pytest.approx(0.7, abs=0.01)
    assert splits.count("validation") / 20_000 == pytest.approx(0.1, abs=0.01)


def test_another_source_is_refused(source: Path, tmp_path: Path):
    build(source, tmp_path / "data", [7.76])
    other = draw_source(tmp_path / "other", NUM_PATCHES - 1)
    with pytest.raises(DatasetError, match="digest"):
        build(other, tmp_path / "data", [3.88])
    with pytest.raises(DatasetError, match="digest"):
        tfds_builders.open_config("metastasis_patches", 7.76, tmp_path / "data", source=other)


def test_a_table_from_windows_is_read(source: Path, tmp_path: Path):
    table = source / "train_labels.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))
    (builder,) = build(source, tmp_path / "data", [7.76])
    assert builder.info.splits.total_num_examples == NUM_PATCHES


FIRST = f"{0:040x}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id,label", "id,class", r"train_labels\.csv line 1: .* missing: label"),
        (f"{FIRST},1", f"{FIRST},2", r"label of 0 or 1, not so for '2' \(line 2\)"),
        (f"{FIRST},1", f"{FIRST},", r"label of 0 or 1, not so for '' \(line 2\)"),
        (f"{FIRST},1", f"{FIRST}", "line 2: expected 2 values, found 1"),
        (f"{FIRST},1", f"../train/{FIRST},1", r"letters, digits.* not so for '\.\./train/0+'"),
        (f"{FIRST},1", f"{FIRST},1\n{FIRST},0", r"each id once, not so for '0+' \(line 3\)"),
        (f"{FIRST},1", "feed,1", r"<id>\.tif in .*train for each id, not so for 'feed'"),
        (",1\n", ",0\n", r"the train split has \d+ no tumour and 0 tumour"),
    ],
)
def test_bad_tables_are_refused(source: Path, tmp_path: Path, old: str, new: str, message: str):
    table = source / "train_labels.csv"
    assert old in table.read_text()
    table.write_text(table.read_text().replace(old, new))
    problems = "\n".join(check(source).problems)
    with pytest.raises(SourceError, match=message) as error:
        build(source, tmp_path / "data")
    assert str(error.value).splitlines()[-1].removeprefix("- ") in problems
    assert not (tmp_path / "data").exists()


def test_another_layout_is_refused(tmp_path: Path):
    assert "train_labels.csv" in check(tmp_path).problems[0]
    with pytest.raises(SourceError, match=r"train_labels\.csv"):
        build(tmp_path, tmp_path / "data")


@pytest.mark.parametrize(("bad", "num_workers"), [("unreadable", 2), ("small", 1)])
def test_bad_patches_leave_nothing_half_built(
    source: Path, tmp_path: Path, bad: str, num_workers: int
):
    path = source / "train" / f"{7:040x}.tif"
    if bad == "unreadable":
        path.write_bytes(path.read_bytes()[:1000])
        message = "is no readable image"
    else:
        Image.fromarray(np.zeros((95, 96, 3), np.uint8)).save(path)
        message = "expected 96×96 pixels, found 96×95"
    with pytest.raises(ImageError, match=f"{path.name}: {message}"):
        build(source, tmp_path / "data", num_workers=num_workers)
    assert nothing_is_left(tmp_path / "data")
    draw_source(tmp_path / "whole")
    path.write_bytes((tmp_path / "whole" / "train" / path.name).read_bytes())
    build(source, tmp_path / "data", [7.76])  # mended, it builds


def test_a_build_that_was_killed_is_finished_by_the_next(source: Path, tmp_path: Path):
    """Killed while TFDS writes: its crops are used again, its leftovers go."""
    script = (
        "import os, signal, tensorflow_datasets as tfds\n"
        "from tfds_builders.metastasis_patches import Builder, build\n"
        "original = Builder._generate_examples\n"
        "def killed(self, portions):\n"
        "    for number, example in enumerate(original(self, portions)):\n"
        "        if number == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield example\n"
        "Builder._generate_examples = killed\n"
        f"build({str(source)!r}, {str(tmp_path / 'data')!r}, [7.76], num_workers=1)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=Path(__file__).parents[2], check=False
    )
    assert process.returncode == -signal.SIGKILL
    data_dir = tmp_path / "data"
    assert list(data_dir.glob("metastasis_patches/**/incomplete.*"))
    crop_files = list((data_dir / ".crops").glob("**/*.npy"))
    assert crop_files
    with pytest.raises(DatasetError, match="not built"):
        tfds_builders.open_config("metastasis_patches", 7.76, data_dir)
    calls = []
    (builder,) = build(source, data_dir, [7.76], progress=lambda *a: calls.append(a))
    assert calls[0] == ("rendering patches", NUM_PATCHES, NUM_PATCHES)  # none of them again
    assert not list(data_dir.glob("metastasis_patches/**/incomplete.*"))
    (other,) = build(source, tmp_path / "uninterrupted", [7.76])
    assert builder.info.metadata["examples_digest"] == other.info.metadata["examples_digest"]


def test_check_counts_what_a_build_would_write(source: Path):
    report = check(source)
    assert report.problems == []
    assert {split: sum(of.values()) for split, of in report.examples.items()} == expected_splits()
    assert report.crop_bytes["0.97um"] == NUM_PATCHES * 96 * 96 * 3
    assert report.crop_bytes["7.76um"] == NUM_PATCHES * 12 * 12 * 3
    assert any("slide" in warning for warning in report.warnings)
    assert "nothing to mend" in str(report)


def test_a_phantom_is_known_by_its_marker(source: Path, tmp_path: Path):
    before = check(source).digest
    (source / "PHANTOM.json").write_text("{}")
    assert check(source).phantom
    assert check(source).digest != before
    (builder,) = build(source, tmp_path / "data", [7.76])
    assert builder.info.metadata["phantom"] is True


def test_preview_shows_both_classes_at_every_resolution(source: Path):
    cases = preview(source, 4)
    assert [case.label for case in cases] == ["tumour", "no tumour"] * 2
    for case in cases:
        assert [image.shape[0] for image in case.crops.values()] == [96, 48, 24, 12]
        assert list(case.crops) == ["0.97um", "1.94um", "3.88um", "7.76um"]


@pytest.mark.skipif(not REAL.exists(), reason="the real patches are not beside this checkout")
def test_real_patches_are_all_there():
    report = check(REAL)
    assert report.problems == []
    assert report.files == {"train": 4000}
    assert report.candidates == {"no tumour": 2368, "tumour": 1632}
    assert sum(sum(of.values()) for of in report.examples.values()) == 4000


if __name__ == "__main__":
    tfds.testing.test_main()
