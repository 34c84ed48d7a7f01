"""Builds by Apache Beam's runners: the dataset of the plain build, whoever rendered it."""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mlp_med.errors import DatasetError, ImageError, SourceError
from tfds_builders.beam_jobs import BeamRun, run_under_beam
from tfds_builders.beam_options import pipeline_options, require_runner
from tfds_builders.luna16 import Builder, build
from tfds_builders.shards import plan_split, write_shard
from tfds_builders.stored_examples import StoredExample

pytest.importorskip("apache_beam")

IN_TWO_PROCESSES = ["direct_running_mode=multi_processing", "direct_num_workers=2"]
COARSE = [5.0]


@pytest.fixture(autouse=True)
def workers_find_this_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def in_order(builder: tfds.core.DatasetBuilder) -> dict[str, list[dict]]:
    return {
        split: list(tfds.as_numpy(builder.as_dataset(split)))
        for split in sorted(builder.info.splits)
    }


def require_same(plain: tfds.core.DatasetBuilder, other: tfds.core.DatasetBuilder) -> None:
    ours, theirs = in_order(plain), in_order(other)
    assert ours.keys() == theirs.keys() == {"train", "validation", "test"}
    for split, examples in ours.items():
        assert len(examples) == len(theirs[split]) > 1
        for one, two in zip(examples, theirs[split], strict=True):
            assert one.keys() == two.keys()
            for name, value in one.items():
                np.testing.assert_array_equal(value, two[name], err_msg=name)
        infos = [builder.info.splits[split] for builder in (plain, other)]
        assert infos[0].shard_lengths == infos[1].shard_lengths
        assert infos[0].num_bytes == infos[1].num_bytes


def paths_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def note_process(folder: str, number: int) -> None:
    """Waits for a second process, so that one cannot have done all the jobs before it began."""
    (Path(folder) / f"{os.getpid()}-{number}").touch()
    for _ in range(600):
        if len({path.name.split("-")[0] for path in Path(folder).iterdir()}) > 1:
            return
        time.sleep(0.05)


def fail(error: Exception, number: int) -> None:
    if number == 3:
        raise error


def test_two_processes_build_what_one_builds(tiny_source: Callable, tmp_path: Path) -> None:
    source = tiny_source(12).root
    (plain,) = build(source, tmp_path / "plain", COARSE, num_workers=1)
    (beam,) = build(
        source,
        tmp_path / "beam",
        COARSE,
        beam_runner="DirectRunner",
        beam_options=IN_TWO_PROCESSES,
    )
    require_same(plain, beam)
    assert plain.info.metadata["examples_digest"] == beam.info.metadata["examples_digest"]
    assert paths_below(tmp_path / "plain") == paths_below(tmp_path / "beam")


def test_multi_processing_means_two_processes_besides_this_one(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    beam = BeamRun(
        "DirectRunner", pipeline_options(IN_TWO_PROCESSES), tmp_path / "store" / "luna16"
    )
    run_under_beam(partial(note_process, str(notes)), range(8), beam)
    names = [path.name for path in notes.iterdir()]
    processes = {int(name.split("-")[0]) for name in names}
    assert {name.split("-")[1] for name in names} == set("01234567")
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "options",
    [["direct_running_mode=in_memory"], pytest.param(IN_TWO_PROCESSES, marks=pytest.mark.slow)],
)
def test_an_error_of_a_job_comes_out_as_it_was(tmp_path: Path, options: list[str]) -> None:
    beam = BeamRun("DirectRunner", pipeline_options(options), tmp_path / "store" / "luna16")
    with pytest.raises(ImageError, match=r"^scan 3 is short$"):
        run_under_beam(partial(fail, ImageError("scan 3 is short")), range(5), beam)
    assert not (tmp_path / "store").exists()


def test_a_spoilt_scan_leaves_no_dataset_and_a_mended_one_builds(
    tiny_source: Callable, tmp_path: Path
) -> None:
    source = tiny_source()
    header = source.scan_file(1)
    whole = header.read_text()
    under_beam = partial(build, source.root, tmp_path / "beam", COARSE, beam_runner="DirectRunner")
    header.write_text(whole.replace("DimSize", "DimSizes"))
    with pytest.raises(SourceError, match="DimSize"):  # seen before any pipeline
        under_beam()
    header.write_text(whole)
    voxels = source.scan_file(1, ".raw")
    kept = voxels.read_bytes()
    voxels.unlink()
    voxels.mkdir()  # there, but not to be read
    with pytest.raises((ImageError, SourceError), match=voxels.stem):
        under_beam()
    assert not list((tmp_path / "beam").glob("luna16/*mm/*"))
    assert not list((tmp_path / "beam").rglob("errors-*"))
    voxels.rmdir()
    voxels.write_bytes(kept)
    (mended,) = under_beam()
    (plain,) = build(source.root, tmp_path / "plain", COARSE, num_workers=1)
    require_same(plain, mended)


def test_tfds_own_way_to_name_a_runner(tiny_source: Callable, tmp_path: Path) -> None:
    source = tiny_source().root
    config = tfds.download.DownloadConfig(
        beam_runner="DirectRunner", beam_options=pipeline_options([]), num_shards=3
    )
    plain, beam = (
        Builder(config="5mm", source=source, data_dir=tmp_path / name) for name in ("one", "two")
    )
    plain.download_and_prepare(download_config=config.replace(beam_runner=None, beam_options=None))
    beam.download_and_prepare(download_config=config)
    assert len(beam.info.splits["train"].shard_lengths) == 3
    require_same(plain, beam)


@pytest.mark.parametrize("max_shard_size", [2_000, 20_000, 1 << 30])
def test_shards_are_those_of_tfds(
    tiny_source: Callable, tmp_path: Path, max_shard_size: int
) -> None:
    """Small shards, so that their number hangs on the very bytes of the records."""
    config = tfds.download.DownloadConfig(min_shard_size=1_000, max_shard_size=max_shard_size)
    builder = Builder(config="5mm", source=tiny_source().root, data_dir=tmp_path / "data")
    planned = []

    def plan(self, dl_manager, download_config):
        planned.extend(
            plan_split(
                list(self.stored_examples(split)),
                self.info.features,
                self.info.file_format,
                self._get_filename_template(split),
                download_config.get_shard_config(),
            )
            for split in self.SPLITS
        )
        return original(self, dl_manager, download_config)

    original = Builder._generate_splits
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Builder, "_generate_splits", plan)
        builder.download_and_prepare(download_config=config)
    for plan_of_split in planned:
        info = builder.info.splits[plan_of_split.info().name]
        assert plan_of_split.info().shard_lengths == info.shard_lengths
        assert plan_of_split.info().num_bytes == info.num_bytes


def test_two_examples_of_one_key_are_refused(tiny_source: Callable, tmp_path: Path) -> None:
    (builder,) = build(tiny_source().root, tmp_path, COARSE, num_workers=1)
    twice = [StoredExample(tmp_path / "any.npy", 0, {"id": "a"})] * 2
    template = builder._get_filename_template("train")
    config = tfds.download.DownloadConfig().get_shard_config()
    with pytest.raises(ValueError, match="train: expected examples with keys of their own"):
        plan_split(twice, builder.info.features, builder.info.file_format, template, config)


def test_what_beam_does_not_know_is_refused_before_anything_is_written(
    tiny_source: Callable, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"no Beam runner 'Speedy'.*DirectRunner"):
        require_runner("Speedy")
    with pytest.raises(DatasetError, match="did you mean 'direct_num_workers'"):
        pipeline_options(["direct_num_worker=2"])
    with pytest.raises(DatasetError, match=r"direct_num_workers=two cannot be used: .*invalid int"):
        pipeline_options(["direct_num_workers=two"])
    with pytest.raises(DatasetError, match="no Beam runner"):
        build(tiny_source().root, tmp_path / "data", COARSE, beam_runner="Speedy")
    assert not (tmp_path / "data").exists()


def test_a_runner_that_fails_says_so(tmp_path: Path) -> None:
    options = pipeline_options(["job_endpoint=localhost:1", "job_server_timeout=1"])
    beam = BeamRun("PortableRunner", options, tmp_path / "store" / "luna16")
    with pytest.raises(DatasetError, match="the Beam runner PortableRunner failed"):
        run_under_beam(os.path.exists, ["a"], beam)


def test_without_beam_an_error_names_the_extra(
    tiny_source: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(DatasetError, match=r"pip install 'mlp-med\[beam\]'"):
        build(tiny_source().root, tmp_path / "data", COARSE, beam_runner="DirectRunner")
    assert not (tmp_path / "data").exists()
    (builder,) = build(tiny_source(name="other").root, tmp_path / "data", COARSE, num_workers=1)
    assert builder.is_built()


def test_a_shard_that_cannot_be_written_leaves_no_part_of_it(
    tiny_source: Callable, tmp_path: Path
) -> None:
    (builder,) = build(tiny_source().root, tmp_path / "data", COARSE, num_workers=1)
    facts = next(iter(tfds.as_numpy(builder.as_dataset("train"))))
    facts = {name: value for name, value in facts.items() if name != "image"}
    crop = tmp_path / "crop.npy"
    np.save(crop, np.zeros((1, 8, 8, 8), np.int16))
    examples = [
        StoredExample(crop, 0, {**facts, "id": "a"}),
        StoredExample(crop, 1, {**facts, "id": "b"}),  # there is no second
    ]
    template = builder._get_filename_template("train").replace(data_dir=tmp_path / "out")
    (tmp_path / "out").mkdir()
    config = tfds.download.DownloadConfig().get_shard_config()
    plan = plan_split(examples, builder.info.features, builder.info.file_format, template, config)
    with pytest.raises(IndexError):
        write_shard(plan.shards[0])
    assert not list((tmp_path / "out").iterdir())
