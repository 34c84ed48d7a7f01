"""`mlp-med phantom`, as a user types it."""

import json
import subprocess
import sys

from typer.testing import CliRunner

from mlp_med.cli.app import app


def _phantom(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlp_med.cli", "phantom", "luna16", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_the_size_of_the_fine_structure_is_written_down_and_called_a_phantom(tmp_path):
    out = tmp_path / "scans"
    done = _phantom(
        str(out), "--scans", "10", "--seed", "3", "--variant", "fine_answer", "--blob-mm", "1.25"
    )
    assert done.returncode == 0, done.stderr
    assert "PHANTOM of 10 scans, seed 3" in done.stdout
    kept = json.loads((out / "PHANTOM.json").read_text())
    assert (kept["variant"], kept["blob_mm"]) == ("fine_answer", 1.25)


def test_structure_of_another_size_is_refused_where_it_means_nothing(tmp_path):
    for arguments in (["--variant", "fine_answer", "--blob-mm", "9"], ["--blob-mm", "1.25"]):
        refused = _phantom(str(tmp_path / "none"), "--scans", "10", *arguments)
        assert refused.returncode == 2
        assert "blobs" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert not (tmp_path / "none").exists()


def test_whole_chests_are_called_a_phantom(tmp_path, monkeypatch):
    """The writer has tests of its own; here it is told what was asked for."""
    asked = {}

    def write(out, **arguments):
        asked.update(arguments, out=out)
        told = {"num_with_cancer": 8, "num_bytes": 300_000_000, "statement": "Drawn, not scanned."}
        return {**arguments, **told}

    monkeypatch.setattr("mlp_med.phantoms.dsb2017.write_dsb2017", write)
    done = CliRunner().invoke(
        app, ["phantom", "dsb2017", str(tmp_path / "out"), "--scans", "16", "--seed", "4"]
    )
    assert done.exit_code == 0, done.output
    assert (asked["num_scans"], asked["seed"], asked["out"]) == (16, 4, tmp_path / "out")
    assert "PHANTOM of 16 scans, seed 4" in done.output
    assert "not scanned" in done.output
