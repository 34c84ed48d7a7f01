"""`mlp-med phantom`, as a user types it."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mlp_med.cli.app import app


def _phantom(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlp_med.cli", "phantom", "luna16", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def asked(monkeypatch):
    """What the writers are asked for: they take a minute, and have tests of their own."""
    asked = {}

    def write(out, **arguments):
        asked.update(arguments, out=out)
        counts = dict.fromkeys(("num_with_cancer", "num_nodules", "num_mimics", "num_bytes"), 8)
        return {**arguments, **counts, "statement": "Drawn, not scanned."}

    for writer in ("luna16.write_luna16", "dsb2017.write_dsb2017"):
        monkeypatch.setattr(f"mlp_med.phantoms.{writer}", write)
    return asked


def written(*arguments):
    done = CliRunner().invoke(app, ["phantom", *arguments])
    assert done.exit_code == 0, done.output
    assert "not scanned" in done.output
    return done.output


def test_the_size_of_the_fine_structure_is_passed_on_and_it_is_called_a_phantom(asked, tmp_path):
    fine = ["--variant", "fine_answer", "--blob-mm", "1.25"]
    printed = written("luna16", str(tmp_path / "out"), "--scans", "10", "--seed", "3", *fine)
    assert (asked["variant"], asked["blob_mm"]) == ("fine_answer", 1.25)
    assert "PHANTOM of 10 scans, seed 3" in printed


def test_structure_of_another_size_is_refused_where_it_means_nothing(tmp_path):
    for arguments in (["--variant", "fine_answer", "--blob-mm", "9"], ["--blob-mm", "1.25"]):
        refused = _phantom(str(tmp_path / "none"), "--scans", "10", *arguments)
        assert refused.returncode == 2
        assert "blobs" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert not (tmp_path / "none").exists()


def test_whole_chests_are_called_a_phantom(asked, tmp_path):
    printed = written("dsb2017", str(tmp_path / "out"), "--scans", "16", "--seed", "4")
    assert (asked["num_scans"], asked["seed"], asked["out"]) == (16, 4, tmp_path / "out")
    assert "PHANTOM of 16 scans, seed 4" in printed
