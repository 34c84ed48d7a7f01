import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from typer.testing import CliRunner

import tfds_builders
from mlp_med.cli.app import app
from mlp_med.cli.datasets import negatives_option
from mlp_med.errors import DatasetError, ImageError, SourceError
from mlp_med.imaging.crop import render_crop
from mlp_med.imaging.volume import read_volume
from tests.faults import fault
from tfds_builders.luna16 import build, crops
from tfds_builders.luna16.luna16_dataset_builder import Builder

ROOT = Path(__file__).parents[3]
COARSE = [2.5, 5.0]  # enough for what does not hang on the resolution, and quick


def paths_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def examples(builder: Builder) -> dict[bytes, dict]:
    found = {}
    for split in builder.info.splits:
        for example in tfds.as_numpy(builder.as_dataset(split=split)):
            found[example["id"]] = {**example, "split": split}
    return found


def digests(builders: list[Builder]) -> list[str]:
    return [builder.info.metadata["examples_digest"] for builder in builders]


def count_readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read = []

    def counted(path: Path):
        read.append(path.stem)
        return read_volume(path)

    monkeypatch.setattr(crops, "read_volume", counted)
    return read


def test_every_resolution_has_the_same_examples(
    tiny_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = count_readings(monkeypatch)
    source = tiny_source(3)
    told = []
    builders = build(
        source.root, tmp_path / "data", num_workers=1, progress=lambda *now: told.append(now)
    )
    assert sorted(read) == sorted(source.series)  # each scan once, for all four resolutions
    assert told[0] == ("rendering scans", 0, 3)
    assert told[3] == ("rendering scans", 3, 3)
    assert told[-1] == ("writing resolutions", 4, 4)
    finest, *others = map(examples, builders)
    assert len(finest) == 24
    for other in others:
        assert other.keys() == finest.keys()
        for key, example in other.items():
            for name in ("label", "patient", "diameter_mm", "split", "fold"):
                assert example[name] == finest[key][name]
            for name in ("centre_mm", "native_spacing_mm"):
                np.testing.assert_array_equal(example[name], finest[key][name])
    for example in finest.values():
        in_fold = source.root.glob(f"subset{example['fold']}/{example['patient'].decode()}.mhd")
        assert len(list(in_fold)) == 1
    for builder, size in zip(builders, (64, 32, 16, 8), strict=True):
        example = next(iter(examples(builder).values()))
        assert example["image"].shape == (size, size, size, 1)
        assert example["image"].dtype == np.int16
        metadata = builder.info.metadata
        assert metadata["resolution"] == 40 / size
        assert metadata["unit"] == "mm"
        assert metadata["phantom"] is False
        assert metadata["num_finer_than_native"] == (24 if 40 / size < 2.5 else 0)
        assert len(metadata["examples_digest"]) <= 36
        # 2 bytes a voxel and little more: `encoding="bytes"`.
        assert builder.info.dataset_size < 24 * (2 * size**3 + 600)
    assert len(set(digests(builders))) == 4
    left = paths_below(tmp_path / "data") - paths_below(tmp_path / "data" / "luna16")
    assert not [path for path in left if "crops" in path or "incomplete" in path]
    assert not (tmp_path / "data" / ".crops").exists()
    assert not (tmp_path / "data" / "downloads").exists()


def test_images_are_the_crops_around_their_centres(tiny_source: Callable, tmp_path: Path) -> None:
    source = tiny_source()
    (builder,) = build(source.root, tmp_path / "data", [2.5], num_workers=1)
    for example in list(examples(builder).values())[:6]:
        (path,) = source.root.glob(f"*/{example['patient'].decode()}.mhd")
        crop = render_crop(read_volume(path), example["centre_mm"], 40.0, 2.5)
        assert np.abs(example["image"][..., 0] - crop).max() <= 0.51  # rounded to whole HU
    assert {float(e["diameter_mm"]) for e in examples(builder).values()} == {0.0, 6.5, 9.0}


def test_plain_load_builds_and_later_needs_no_source(tiny_source: Callable, tmp_path: Path) -> None:
    source = tiny_source()
    built = tfds.load(
        "luna16/5mm",
        split="test",
        data_dir=tmp_path / "data",
        builder_kwargs={"source": source.root},
    )
    again = tfds.load("luna16/5mm", split="test", data_dir=tmp_path / "data")
    ids = [example["id"] for example in tfds.as_numpy(built)]
    assert ids == [example["id"] for example in tfds.as_numpy(again)]
    assert not (tmp_path / "data" / ".crops").exists()
    # Alone or with others, by one process or two: the same examples.
    builders = build(source.root, tmp_path / "other", COARSE, num_workers=2)
    assert (
        tfds_builders.open_config("luna16", 5.0, tmp_path / "data").info.metadata
        == builders[1].info.metadata
    )


def test_what_is_built_is_not_built_again(
    tiny_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = count_readings(monkeypatch)
    source = tiny_source()
    build(source.root, tmp_path / "data", [5.0], num_workers=1)
    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "data").rglob("*.tfrecord*")}
    build(source.root, tmp_path / "data", COARSE, num_workers=1)
    build(source.root, tmp_path / "data", COARSE, num_workers=1)
    assert len(read) == 2 * 5  # once for 5 mm, once for 2.5 mm
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())


def test_another_source_is_refused(tiny_source: Callable, tmp_path: Path) -> None:
    source, data_dir = tiny_source(), tmp_path / "data"
    build(source.root, data_dir, [5.0], num_workers=1)
    other = tiny_source(6, "other")
    before = paths_below(data_dir)
    with pytest.raises(DatasetError, match="built from a source with digest"):
        tfds_builders.open_config("luna16", 5.0, data_dir, other.root)
    with pytest.raises(DatasetError, match="built from a source with digest"):
        tfds.load("luna16/5mm", data_dir=data_dir, builder_kwargs={"source": other.root})
    # Nor may two resolutions of one directory come from two sources.
    with pytest.raises(DatasetError, match=r"luna16/5mm in .* built from a source"):
        build(other.root, data_dir, [2.5], num_workers=1)
    with pytest.raises(DatasetError, match=r"negatives_per_positive = 3.0, not 1.0"):
        build(source.root, data_dir, [2.5], num_workers=1, negatives_per_positive=1.0)
    assert paths_below(data_dir) == before
    assert tfds_builders.open_config("luna16", 5.0, data_dir, source.root).is_built()


def test_options_stay_with_the_dataset(tiny_source: Callable, tmp_path: Path) -> None:
    source, data_dir = tiny_source(), tmp_path / "data"
    (builder,) = build(source.root, data_dir, [5.0], num_workers=1, negatives_per_positive=1.0)
    assert builder.info.splits.total_num_examples == 20
    tfds_builders.open_config("luna16", 5.0, data_dir, source.root)
    with pytest.raises(DatasetError, match=r"negatives_per_positive = 1.0, not 3.0"):
        build(source.root, data_dir, [2.5], num_workers=1)


def test_the_command_keeps_as_many_negatives_as_it_is_told(tiny_source, tmp_path):
    """All of them for a FROC over whole scans; what is built with them needs no option later."""
    source, data_dir = tiny_source(), tmp_path / "data"
    several = ["--data-dir", str(data_dir), "--resolution", "5", "--workers", "1"]
    command = ["data", "build", "luna16", "--source", str(source.root), *several]
    done = CliRunner().invoke(app, [*command, "--negatives", "1000"])
    assert done.exit_code == 0, done.output
    builder = tfds_builders.open_config("luna16", 5.0, data_dir)
    labels = [int(example["label"]) for example in examples(builder).values()]
    check = ["data", "check", "luna16", "--source", str(source.root), "--negatives", "1000"]
    told = CliRunner().invoke(app, check).output
    kept = re.findall(r"(\d+) non-nodule, (\d+) nodule$", told, re.MULTILINE)
    assert sum(int(number) for row in kept for number in row) == len(labels)
    in_table = [line.rsplit(",", 1)[1] for line in source.candidates[1:]]
    assert labels.count(0) == in_table.count("0")
    with pytest.raises(DatasetError, match=r"no candidates to choose from"):
        negatives_option("dsb2017", 1000.0)


@pytest.mark.parametrize(
    ("name", "resolution", "message"),
    [
        ("luna16", 2.5, "not built.*mlp-med data build luna16"),
        ("luna16", 3.0, "no resolution 3; it has 0.625mm, 1.25mm, 2.5mm, 5mm"),
        ("luna17", 2.5, "no dataset luna17; there are luna16"),
    ],
)
def test_what_cannot_be_opened(tmp_path: Path, name: str, resolution: float, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        tfds_builders.open_config(name, resolution, tmp_path)


def test_nothing_is_written_for_a_source_with_problems(
    tiny_source: Callable, tmp_path: Path
) -> None:
    source = tiny_source()
    shutil.rmtree(source.root / "subset2")
    for attempt in (
        lambda: build(source.root, tmp_path / "data"),
        lambda: tfds.load(
            "luna16/5mm", data_dir=tmp_path / "data", builder_kwargs={"source": source.root}
        ),
    ):
        with pytest.raises(SourceError, match="validation split has 0 non-nodule and 0 nodule"):
            attempt()
        assert paths_below(tmp_path / "data") <= {".luna16.lock"}


def test_damaged_voxels_end_the_build_and_leave_no_dataset(
    tiny_source: Callable, tmp_path: Path
) -> None:
    source = tiny_source()
    header, raw = source.scan_file(2), source.scan_file(2, ".raw")
    compressed = raw.with_suffix(".zraw")
    compressed.write_bytes(b"not zlib")
    raw.unlink()
    header.write_text(header.read_text().replace(".raw", ".zraw").replace("False", "True"))
    with pytest.raises(ImageError, match="compressed voxels are damaged"):
        build(source.root, tmp_path / "data", COARSE, num_workers=1)
    assert not (tmp_path / "data" / "luna16").exists()


@fault(
    "disk full at building",
    sees="'the disk is full; no unfinished dataset is left'",
    lost="nothing: crops that are cut wait",
    goes_on="the same command, when there is room",
)
def test_a_full_disk_is_said_and_leaves_nothing_half_made(
    tiny_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, data_dir = tiny_source(), tmp_path / "data"
    open_path = Path.open

    def open_on_full_disk(path: Path, mode: str = "r", *rest, **options):
        if path.suffix != ".unfinished":
            return open_path(path, mode, *rest, **options)
        open_path(path, mode).close()
        return open_path(Path("/dev/full"), mode, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_on_full_disk)
        with pytest.raises(DatasetError, match="disk is full"):
            build(source.root, data_dir, COARSE, num_workers=1)
    assert {path.name for path in data_dir.rglob("*") if path.is_file()} == {".luna16.lock"}

    def fails_in_the_middle(self, split):
        yield from list(generate(self, split))[:3]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    generate = Builder._generate_examples
    with monkeypatch.context() as patch:
        patch.setattr(Builder, "_generate_examples", fails_in_the_middle)
        with pytest.raises(DatasetError, match="disk is full"):
            build(source.root, data_dir, COARSE, num_workers=1)
    assert not list(data_dir.glob("luna16/*mm/*"))
    read = count_readings(monkeypatch)
    build(source.root, data_dir, COARSE, num_workers=1)
    assert read == []  # the crops had waited
    assert not (data_dir / ".crops").exists()


def test_too_little_space_is_said_before_it_is_used(
    tiny_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_source()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(DatasetError, match=r"needs 0.00 GB"):
        build(source.root, tmp_path / "data", COARSE, num_workers=1)
    assert paths_below(tmp_path / "data") == {".luna16.lock"}


def test_other_code_renders_anew(
    tiny_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_source()
    monkeypatch.setattr(Builder, "write", lambda self: None)  # the crops stay
    monkeypatch.setattr("tfds_builders.building.remove_crop_store", lambda *_: None)
    read = count_readings(monkeypatch)
    module = "tfds_builders.luna16.luna16_dataset_builder"
    build(source.root, tmp_path / "data", COARSE, num_workers=1)
    build(source.root, tmp_path / "data", COARSE, num_workers=1)
    assert len(read) == 5
    monkeypatch.setattr(f"{module}.rendering_code_digest", lambda *_: "other code")
    build(source.root, tmp_path / "data", COARSE, num_workers=1)
    assert len(read) == 10
    assert len(list((tmp_path / "data" / ".crops").rglob("*.npy"))) == 10  # stale ones are gone
    raw = source.scan_file(0, ".raw")
    raw.write_bytes(raw.read_bytes()[::-1])
    build(source.root, tmp_path / "data", COARSE, num_workers=1)
    assert len(read) == 11


def test_the_digest_notices_every_feature(tiny_source: Callable, tmp_path: Path) -> None:
    first, second = tiny_source(), tiny_source(name="second")
    raw = second.scan_file(0, ".raw")
    voxels = np.frombuffer(raw.read_bytes(), np.int16).copy()
    voxels[len(voxels) // 2 + 300] += 500
    raw.write_bytes(voxels.tobytes())
    (one,) = build(first.root, tmp_path / "one", [2.5], num_workers=1)
    (two,) = build(second.root, tmp_path / "two", [2.5], num_workers=1)
    assert one.info.metadata["source_digest"] == two.info.metadata["source_digest"]
    assert digests([one]) != digests([two])


# A build that stops for good in the middle of rendering, or of writing, until it is killed.
HANGING = """
import sys, time
from tfds_builders.luna16 import build
from tfds_builders.luna16.luna16_dataset_builder import Builder

source, data_dir, where, num_workers = sys.argv[1:]

def hang():
    print("now", flush=True)
    time.sleep(600)

def progress(what, done, total):
    if where == "rendering" and what.startswith("rendering") and done == 7:
        hang()

def hanging(self, split):
    for number, example in enumerate(generate(self, split)):
        if where == "writing" and self.builder_config.name == "5mm" and number == 2:
            hang()
        yield example

if __name__ == "__main__":
    generate, Builder._generate_examples = Builder._generate_examples, hanging
    build(source, data_dir, [2.5, 5.0], num_workers=int(num_workers), progress=progress)
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, make_source: Callable) -> list[Builder]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return build(make_source(folder / "source", 12).root, folder / "data", COARSE, num_workers=1)


@pytest.mark.parametrize(
    ("where", "num_workers"), [("rendering", 1), ("rendering", 2), ("writing", 1)]
)
def test_a_killed_build_goes_on_where_it_was(
    tiny_source: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: list[Builder],
    where: str,
    num_workers: int,
) -> None:
    source, data_dir = tiny_source(12), tmp_path / "data"
    script = tmp_path / "hanging.py"
    script.write_text(HANGING)
    with subprocess.Popen(
        [sys.executable, script, source.root, data_dir, where, str(num_workers)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as killed:
        while (line := killed.stdout.readline()) not in (b"now\n", b""):
            pass
        assert line == b"now\n"
        killed.send_signal(signal.SIGKILL)
        killed.stdout.read()  # its workers hold the pipe too: what they were at is finished
        killed.wait()
    name = {5.0: "5mm", 2.5: "2.5mm"}
    with pytest.raises(DatasetError, match="not built"):
        tfds_builders.open_config("luna16", 5.0, data_dir)
    if where == "writing":
        assert [p.name for p in (data_dir / "luna16").glob("*/incomplete.*")]
        finished = 12
    else:
        finished = len(list((data_dir / ".crops/luna16" / name[5.0]).glob("*.npy")))
        assert finished == 7 if num_workers == 1 else 7 <= finished <= 12
    read = count_readings(monkeypatch)
    builders = build(source.root, data_dir, COARSE, num_workers=1)
    assert len(read) == 12 - finished
    assert not list(data_dir.rglob("incomplete.*"))
    assert not (data_dir / ".crops").exists()
    assert digests(builders) == digests(undisturbed)
    metadata = json.loads((data_dir / "luna16/5mm/1.1.0/metadata.json").read_text())
    assert metadata.pop("source") == str(source.root)
    expected = dict(undisturbed[1].info.metadata)
    assert expected.pop("source") != str(source.root)
    assert metadata == expected
