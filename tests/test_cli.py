"""The command line as a user types it: real files, a real SQLite ledger, real processes."""

import contextlib
import json
import logging
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mlp_med.cli import main
from mlp_med.cli.app import console
from mlp_med.ledger.read import load_predictions, read_study
from mlp_med.ledger.store import open_ledger
from tests.command_line import COMMAND, FROM_THE_OUTSIDE, mlp_med, own_environment
from tests.faults import fault
from tests.studies.noise_study import write_patches

NUM_PATCHES = 120
NUM_CELLS = 10  # two resolutions, the upsampled one, A/A and permuted labels; two seeds each


@pytest.fixture
def here(monkeypatch, capfd):
    """The command in this process, which has imported all of it; what it printed."""

    def run(*arguments, cwd, code=0):
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["mlp-med", *arguments])
        monkeypatch.setattr(console, "width", 200)
        for name in FROM_THE_OUTSIDE:
            monkeypatch.delenv(name, raising=False)
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = "".join(capfd.readouterr())
        assert (end.value.code or 0) == code, printed
        assert "Traceback" not in printed
        return printed

    absl = logging.getLogger("absl")
    level = absl.level
    yield run
    absl.setLevel(level)


@pytest.fixture(scope="session")
def patches(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("source")
    write_patches(root, NUM_PATCHES)
    return root


STUDY = ["resolution_matters", "--dataset", "metastasis_patches", "--size", "smoke"]


def predictions_of(directory: Path) -> dict[str, bytes]:
    """Scores of every done cell by its hash, in the order of the ids."""
    ledger = open_ledger(f"sqlite:///{directory}/runs/mlflow.db")
    record = read_study(ledger, name="resolution_matters")
    return {
        cell.hash: load_predictions(ledger, cell.run_id).sort_values("id")["score"].values.tobytes()
        for cell in record.in_state("done")
    }


@pytest.fixture(scope="session")
def finished(patches, tmp_path_factory) -> Path:
    """A directory in which the smoke study ran to its end."""
    directory = tmp_path_factory.mktemp("finished")
    printed = mlp_med("study", "run", *STUDY, "--source", str(patches), cwd=directory)
    assert f"{NUM_CELLS} of {NUM_CELLS} cells are done" in printed
    return directory


def test_a_study_that_is_done_is_not_run_again(finished, here):
    before = predictions_of(finished)
    printed = here("study", "run", *STUDY, cwd=finished)
    assert f"0 cells to run, {NUM_CELLS} done before" in printed
    assert predictions_of(finished) == before


def test_status_lists_every_arm_with_its_runs(finished, here):
    printed = here("study", "status", "resolution_matters", cwd=finished)
    assert "7.76µm upsampled to 1.94µm" in printed
    runs = read_study(
        open_ledger(f"sqlite:///{finished}/runs/mlflow.db"), name="resolution_matters"
    ).in_state("done")
    assert all(run.run_id in printed.replace("\n", "") or run.run_id[:8] in printed for run in runs)


def test_the_report_claims_nothing_at_the_smoke_size(finished, here):
    printed = here("report", "resolution_matters", "--out", "page", cwd=finished)
    verdict = json.loads((finished / "page/verdict.json").read_text())
    assert verdict["verdict"] is None
    assert verdict["n_patients"] is None
    assert verdict["exploratory"] is True
    assert verdict["controls"]["status"] in ("passed", "stale", "missing")
    assert len(verdict["arms"]) == 5
    assert "no verdict" in printed
    page = (finished / "page/index.html").read_text()
    assert page.index("no verdict") < page.index("<img")


def test_a_rerun_from_the_ledger_alone_is_bit_identical(finished, here):
    ledger = open_ledger(f"sqlite:///{finished}/runs/mlflow.db")
    cell = read_study(ledger, name="resolution_matters").in_state("done")[0]
    assert "identical bit for bit" in here("rerun", cell.run_id, cwd=finished)


def test_the_predictions_of_a_finished_study_are_those_that_were_kept(finished, here):
    printed = here("study", "verify", "resolution_matters", cwd=finished)
    assert f"{NUM_CELLS} of {NUM_CELLS} done cells have the predictions" in printed


def test_a_random_sample_is_rerun_and_counted(finished, here):
    sample = ["--study", "resolution_matters", "--sample", "2", "--seed", "0"]
    printed = here("rerun", *sample, cwd=finished)
    assert "2 of 2 reruns are identical bit for bit" in printed


def test_a_rerun_of_what_is_not_a_done_cell_is_refused(finished, here):
    ledger = open_ledger(f"sqlite:///{finished}/runs/mlflow.db")
    study = read_study(ledger, name="resolution_matters")
    assert "expected the run of a cell" in here("rerun", study.run_id, cwd=finished, code=2)
    assert "no-such-run" in here("rerun", "no-such-run", cwd=finished, code=2)


@fault(
    "SIGKILL of a sweep",
    sees="nothing more",
    lost="the running cells",
    goes_on="the same command goes on from the cells that are done",
)
def test_a_study_killed_in_the_middle_goes_on_and_ends_as_if_it_had_not_been(
    patches, finished, tmp_path
):
    arguments = ["study", "run", *STUDY, "--source", str(patches), "--seeds", "1"]
    arguments += ["--checkpoint-seconds", "0.001"]
    study = psutil.Popen(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        env=own_environment(),
        text=True,
        stdout=subprocess.PIPE,
    )
    done_before = 0
    for line in study.stdout:
        done_before += line.startswith("done ")
        if done_before == 2:
            break
    kill_in_mid_training(study, tmp_path / "runs/checkpoints")
    kept = predictions_of(tmp_path)
    assert len(kept) >= 2
    printed = mlp_med(*arguments, cwd=tmp_path)
    to_run = int(re.search(r"(\d+) cells to run", printed)[1])
    num_cells = NUM_CELLS // 2  # of one seed
    assert to_run == num_cells - len(kept) < num_cells - 1
    ended, undisturbed = predictions_of(tmp_path), predictions_of(finished)
    assert len(ended) == num_cells
    assert ended == {cell: undisturbed[cell] for cell in ended}
    ledger = open_ledger(f"sqlite:///{tmp_path}/runs/mlflow.db")
    cells = read_study(ledger, name="resolution_matters").in_state("done")
    resumed = [cell for cell in cells if int(cell.tags.get("resumed_at_examples", 0)) > 0]
    assert resumed
    assert not {cell.hash for cell in resumed} & kept.keys()
    assert list((tmp_path / "runs/checkpoints").iterdir()) == []


def kill_in_mid_training(study: psutil.Popen, checkpoints: Path) -> None:
    """SIGKILL to the study and its cells when one that is not done has a checkpoint."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        cells = study.children(recursive=True)
        with contextlib.suppress(psutil.NoSuchProcess):
            for cell in cells:
                cell.suspend()  # so that none gets done between the look and the kill
        if list(checkpoints.glob("*/checkpoint")):
            for process in [*cells, study]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            study.wait()
            return
        for cell in cells:
            with contextlib.suppress(psutil.NoSuchProcess):
                cell.resume()
        time.sleep(0.02)
    raise AssertionError("no cell wrote a checkpoint")


def test_plan_tells_cells_time_disk_and_the_smallest_effect(finished, here):
    printed = here("study", "plan", *STUDY, cwd=finished)
    for word in (f"cells: {NUM_CELLS}", "time: about", "disk:", "smallest detectable effect"):
        assert word in printed
    assert "with 2 seeds and" in printed  # not those of the A/A pair too


def test_a_dry_run_says_what_would_run_and_writes_nothing(finished, tmp_path, here):
    elsewhere = ["--launcher", "dry-run", "--data-dir", str(finished / "data/tfds")]
    printed = here("study", "run", *STUDY, *elsewhere, cwd=tmp_path)
    assert f"{NUM_CELLS} cells would run" in printed
    line = r"on this machine, 1 thread, (?:[89]\d\d MB|1\.\d\d GB): .*, seed \d+$"
    assert len(re.findall(line, printed, re.M)) == NUM_CELLS
    assert not list(tmp_path.iterdir())
    printed = here("study", "run", *STUDY, "--launcher", "dry-run", cwd=finished)
    assert f"0 cells would run, {NUM_CELLS} ended before" in printed


BUILD_OF_NOTHING = ["data", "build", "luna16", "--source", "absent"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "run", "no_such_study"], "there is no study 'no_such_study'"),
        (["study", "run", "resolution_matters", "--size", "huge"], "has no size 'huge'"),
        (
            ["study", "run", "splitting_costs", "--dataset", "table", "--source", "absent.csv"],
            "has no size 'small' on 'table'; it has luna16_fields",
        ),
        (["study", "run", "resolution_matters"], "is not built"),
        (["study", "run", "resolution_matters", "--launcher", "dry-run"], "is not built"),
        (["study", "run", "resolution_matters", "--address", "h:1"], "add --launcher ray"),
        (["data", "check", "no_such_dataset", "--source", "."], "there is no dataset"),
        (["data", "build", "luna16", "--source", "absent"], "absent"),
        (["study", "list", "--nonsense"], "No such option"),
        (["rerun", "a-run", "--at", "HEAD"], "--at reruns a sample"),
        (["rerun", "--study", "x", "--at", "no-such-commit"], "knows no commit"),
        (["serve", "--backend-store-uri", "http://me:secret@host"], "expected a database"),
        ([*BUILD_OF_NOTHING, "--beam-option", "direct_num_workers=2"], "name it: --beam-runner"),
        (
            [*BUILD_OF_NOTHING, "--beam-runner", "DirectRunner", "--workers", "2"],
            "--workers counts",
        ),
    ],
)
def test_a_users_mistake_is_one_clear_message(arguments, message, tmp_path, here):
    printed = here(*arguments, cwd=tmp_path, code=2)
    assert message in printed
    assert "secret" not in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["study", "status", "resolution_matters"],
        ["study", "verify", "resolution_matters"],
        ["study", "compare", "resolution_matters", "resolution_matters"],
        ["report", "resolution_matters", "--out", "page"],
        ["rerun", "--study", "resolution_matters"],
        ["rerun", "a-run"],
        ["submission", "a-run", "--out", "scores"],
        ["advise"],
    ],
)
def test_who_reads_begins_no_ledger_in_a_mistyped_place(arguments, tmp_path, here):
    elsewhere = ["--tracking-uri", "sqlite:///elsewhere/mlflow.db"]
    printed = here(*arguments, *elsewhere, cwd=tmp_path, code=2)
    assert "there is no ledger sqlite:///elsewhere/mlflow.db" in printed
    assert not list(tmp_path.iterdir())


def test_a_ledger_that_cannot_be_written_stops_the_study_before_it_starts(patches, tmp_path, here):
    (tmp_path / "runs").write_text("a file where a directory should be")
    printed = here("study", "run", *STUDY, "--source", str(patches), cwd=tmp_path, code=2)
    assert "ledger" in printed


def test_help_names_every_verb_without_importing_tensorflow_or_mlflow(tmp_path):
    printed = mlp_med("--help", cwd=tmp_path)
    verbs = ("phantom", "data", "study", "report", "rerun", "serve", "ui")
    assert all(verb in printed for verb in verbs)
    heavy = "import sys, mlp_med.cli; print({'tensorflow', 'mlflow', 'keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", heavy], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "set()"
