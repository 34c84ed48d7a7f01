"""`data build --beam-runner`, as a user types it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tfds_builders.cbis_ddsm_crops.drawn_release import draw_release
from tfds_builders import open_config

pytest.importorskip("apache_beam")

ROOT = Path(__file__).parents[2]


def data_build(source: Path, data_dir: Path, *options: str) -> subprocess.CompletedProcess:
    command = ["data", "build", "cbis_ddsm_crops", "--source", source, "--data-dir", data_dir]
    return subprocess.run(
        [sys.executable, "-m", "mlp_med.cli", *command, "--resolution", "0.8", *options],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.slow
def test_the_command_builds_the_same_dataset(tmp_path: Path) -> None:
    source = draw_release(tmp_path / "release")
    digests = []
    for name, options in (("plain", []), ("beam", ["--beam-runner", "DirectRunner"])):
        done = data_build(source, tmp_path / name, *options)
        assert done.returncode == 0, done.stdout
        assert "cbis_ddsm_crops/0.8mm" in done.stdout
        metadata = open_config("cbis_ddsm_crops", 0.8, tmp_path / name).info.metadata
        digests.append(metadata["examples_digest"])
    assert digests[0] == digests[1]


def test_a_mistyped_option_is_one_clear_message(tmp_path: Path) -> None:
    source = draw_release(tmp_path / "release")
    options = ["--beam-runner", "DirectRunner", "--beam-option", "direct_num_worker=2"]
    done = data_build(source, tmp_path / "data", *options)
    assert done.returncode == 2
    assert "did you mean 'direct_num_workers'" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "data").exists()
