"""`data build --beam-runner`, as a user types it."""

from pathlib import Path

import pytest

from tests.command_line import mlp_med
from tests.tfds_builders.cbis_ddsm_crops.drawn_release import draw_release
from tfds_builders import open_config

pytest.importorskip("apache_beam")


def data_build(source: Path, data_dir: Path, *options: str, cwd: Path, code: int = 0) -> str:
    command = ["data", "build", "cbis_ddsm_crops", "--source", str(source)]
    command += ["--data-dir", str(data_dir), "--resolution", "0.8", *options]
    return mlp_med(*command, cwd=cwd, code=code)


@pytest.mark.slow
def test_the_command_builds_the_same_dataset(tmp_path: Path) -> None:
    source = draw_release(tmp_path / "release")
    digests = []
    for name, options in (("plain", []), ("beam", ["--beam-runner", "DirectRunner"])):
        printed = data_build(source, tmp_path / name, *options, cwd=tmp_path)
        assert "cbis_ddsm_crops/0.8mm" in printed
        metadata = open_config("cbis_ddsm_crops", 0.8, tmp_path / name).info.metadata
        digests.append(metadata["examples_digest"])
    assert digests[0] == digests[1]


def test_a_mistyped_option_is_one_clear_message(tmp_path: Path) -> None:
    source = draw_release(tmp_path / "release")
    options = ["--beam-runner", "DirectRunner", "--beam-option", "direct_num_worker=2"]
    printed = data_build(source, tmp_path / "data", *options, cwd=tmp_path, code=2)
    assert "did you mean 'direct_num_workers'" in printed
    assert not (tmp_path / "data").exists()
