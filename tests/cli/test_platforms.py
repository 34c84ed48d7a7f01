import pytest
from typer.testing import CliRunner

from mlp_med.capacity import this_machine
from mlp_med.capacity.this_machine import Speeds
from mlp_med.cli import app
from mlp_med.errors import CapacityError


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["platforms", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def quick(monkeypatch):
    speeds = Speeds(2e10, {"float32": 3e11}, disk_bytes_per_s=None, threads=1)
    monkeypatch.setattr(this_machine, "measure_speeds", lambda folder, threads: speeds)


def test_the_catalogue_is_listed():
    output = run()
    assert "NVIDIA H100 SXM 80 GB" in output
    assert "3,350" in output
    assert "datasheet" not in output
    assert "NVIDIA H100 Tensor Core GPU datasheet" in run("--sources")


def test_this_machine_is_measured_kept_and_read_again(quick, tmp_path):
    path = tmp_path / "here.toml"
    assert "this-machine" in run("--measure", "--out", str(path))
    assert ", measured" in run("--catalogue", str(path))


def test_out_without_measure_is_refused(tmp_path):
    with pytest.raises(CapacityError, match="give both"):
        run("--out", str(tmp_path / "here.toml"))


def test_a_place_that_cannot_be_written_is_named(quick, tmp_path):
    with pytest.raises(CapacityError, match="cannot measure the disk or write in"):
        run("--measure", "--out", str(tmp_path / "absent" / "here.toml"))
