"""Cells rerun with the code of a commit: real git repositories, real processes of that code."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlp_med.errors import StudyError
from mlp_med.ledger import study_run, write
from mlp_med.ledger.read import read_study
from mlp_med.reports.reproduction_report import ReproductionReport, write_reproduction
from mlp_med.studies import commit_environment
from mlp_med.studies.commit_environment import (
    CommitEnvironment,
    install_with_pip,
    make_commit_environment,
    resolve_commit,
)
from mlp_med.studies.reproduction import reproduce
from tests.ledger.synthetic import DATASET, cell_params

# A small mlp_med of long ago: what a commit must have for its cells to be rerun, and no more.
CELL = """
    from dataclasses import dataclass
    @dataclass(frozen=True)
    class Cell:
        dataset: str
        dataset_digest: str
        resolution: float
        augment: bool
        learning_rate: float
        budget_examples: int
        seed: int
        from_params = classmethod(lambda cls, params: cls(**params))
"""
LAUNCHER = """
    from dataclasses import dataclass
    @dataclass
    class Order:
        cell: object
        run_id: str
        tracking_uri: str
        data_dir: str
        launched_at: float
"""
WORKER = """
    import os, numpy as np, pandas as pd
    def train_and_save(order, send, *, path):
        assert "MLFLOW_TRACKING_URI" not in os.environ
        seed = order.cell.seed
        if seed == 3:
            raise ValueError("the loss became nan")
        if seed == 4:
            os._exit(9)
        label = np.arange(20) % 2
        score = np.random.default_rng(seed).random(20).astype("float32")
        score[0] += {0: 0, 1: 1e-6, 2: 0.01}[seed]
        pd.DataFrame({"id": [f"c{i:02d}" for i in range(20)], "label": label, "score": score}
            ).to_parquet(path)
"""
PROVENANCE = """
    def environment():
        return {"python": "3.0", "version.numpy": "1.0"}
    def code_digest(dataset):
        return "digest of long ago"
"""
BUILDERS = """
    class Builder:
        class info:
            metadata = {"examples_digest": "1234567890"}
    def open_config(dataset, resolution, data_dir):
        return Builder
"""
FILES = {
    "mlp_med/__init__.py": "",
    "mlp_med/ledger/__init__.py": "",
    "mlp_med/ledger/read.py": "",
    "mlp_med/studies/__init__.py": "",
    "mlp_med/studies/cell.py": CELL,
    "mlp_med/studies/launcher.py": LAUNCHER,
    "mlp_med/studies/worker.py": WORKER,
    "mlp_med/studies/provenance.py": PROVENANCE,
    "tfds_builders/__init__.py": BUILDERS,
    "requirements/study.txt": "numpy==2.0.0 --hash=sha256:00\n",
}
LATER = ("fold", "training_fraction", "accumulation_steps", "recompute", "stream_tile")
LATER += ("stop_at_training_loss", "split", "tile_labels")
MACHINE = {"processor": "this one", "num_cores": "2"}


def git(repository, *arguments):
    author = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(repository), *author, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(repository, files, message):
    for name, content in files.items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", message)
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    path = tmp_path / "a repository"
    path.mkdir()
    git(path, "init", "--quiet")
    commit(path, {"README.md": "nothing yet"}, "without a lock")
    commit(path, FILES, "long ago")
    return path


def install_this_interpreter(lock: Path, place: Path) -> None:
    """Making a whole environment takes minutes: the packages of this one are lent."""
    (place / "bin").mkdir(parents=True)
    script = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
    (place / "bin" / "python").write_text(script)
    (place / "bin" / "python").chmod(0o755)


def make(repository, revision, tmp_path, install=install_this_interpreter):
    return make_commit_environment(repository, revision, tmp_path / "kept", install=install)


def params_of(seed, **changes):
    return {k: v for k, v in cell_params(1.25, seed).items() if k not in LATER} | changes


def scores_of(seed):
    score = np.random.default_rng(seed).random(20).astype(np.float32)
    names = [f"c{number:02d}" for number in range(20)]
    columns = {"id": names, "patient": "p", "seed": seed, "label": np.arange(20) % 2}
    return pd.DataFrame({**columns, "score": score}).sample(frac=1, random_state=0)


@pytest.fixture
def study(ledger, tmp_path):
    """Five cells of long ago, one of a field that came later; returns their records."""
    cells = [params_of(seed) for seed in range(5)] + [params_of(0, stream_tile=48)]
    planned = [
        {"hash": f"h{n}", "arm": "1.25mm", "params": params} for n, params in enumerate(cells)
    ]
    study = study_run.start_study(ledger, "resolution", "hash0", {"cells": planned}, {})
    tags = {
        "commit": "0" * 40,
        "code_digest": "digest of today",
        "processor": "another",
        "num_cores": "2",
        "python": "3.0",
        "version.numpy": "2.0",
        "data_dir": str(tmp_path),
        "phantom": "true",
    }
    for cell in planned:
        run = write.start_cell(ledger, study, cell["params"], cell["hash"], "1.25mm", tags, DATASET)
        write.finish_cell(ledger, run, {"test_auc": 0.5}, scores_of(cell["params"]["seed"]))
    return read_study(ledger, study)


@pytest.mark.slow
def test_each_cell_is_told_apart_and_what_has_changed_is_named(
    ledger, study, repository, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ledger.tracking_uri)
    environment = make(repository, "HEAD", tmp_path)
    ended = []
    found = reproduce(
        ledger,
        study.cells,
        environment,
        machine=MACHINE,
        num_concurrent=2,
        on_end=ended.append,
    )
    results = ["same bits", "same within tolerance", "different", "failed", "failed"]
    assert [cell.result for cell in found] == [*results, "cannot run there"]
    assert sorted(map(str, ended)) == sorted(map(str, found))
    same, close, different, failed, died, unknown = found
    assert same.largest_difference == 0
    assert 0 < close.largest_difference < 1e-5
    assert different.largest_difference == pytest.approx(0.01, rel=1e-4)
    assert "ValueError: the loss became nan" in failed.reason
    assert "exited with code 9" in died.reason
    assert "the cell has stream_tile=48, which this commit does not know" in unknown.reason
    assert {room: list(changes) for room, changes in same.changes.items()} == {
        "code": [
            ("commit", "0" * 40, environment.commit),
            ("code_digest", "digest of today", "digest of long ago"),
        ],
        "versions": [("version.numpy", "2.0", "1.0")],
        "machine": [("processor", "another", "this one")],
    }
    report = ReproductionReport("<resolution>", True, environment, found, 1e-5, "mlp-med rerun")
    page = write_reproduction(report, tmp_path / "report").read_text()
    assert "&lt;resolution&gt; – phantom" in page
    assert "stream_tile=48" in page
    content = json.loads((tmp_path / "report" / "reproduction.json").read_text())
    assert "2 failed" in content["sentence"]
    assert content["cells"][0]["changes"]["versions"] == [
        {"what": "version.numpy", "then": "2.0", "there": "1.0"}
    ]
    assert content["cells"][5]["largest_difference"] is None


def test_code_and_environment_are_made_once_and_shared_by_the_lock(repository, tmp_path):
    installed = []

    def install(lock, place):
        installed.append(lock.read_text())
        install_this_interpreter(lock, place)

    first = make(repository, "HEAD", tmp_path, install)
    assert make(repository, "HEAD", tmp_path, install) == first
    assert first.code.parent == tmp_path / "kept"
    same_lock = commit(repository, {"mlp_med/studies/worker.py": WORKER + "\n# other\n"}, "code")
    second = make(repository, same_lock, tmp_path, install)
    assert (second.python, second.lock_digest) == (first.python, first.lock_digest)
    assert second.code != first.code
    assert len(installed) == 1
    commit(repository, {"requirements/study.txt": "numpy==3\n"}, "lock")
    assert make(repository, "HEAD", tmp_path, install).python != first.python
    assert len(installed) == 2
    (first.code / "mlp_med" / "studies" / "worker.py").write_text("edited")
    again = make(repository, first.commit, tmp_path, install)
    assert again == first
    assert "edited" not in (again.code / "mlp_med" / "studies" / "worker.py").read_text()
    assert git(repository, "worktree", "list").count("\n") == 0  # nothing added to the user's
    assert git(repository, "status", "--porcelain") == ""


def test_an_installation_that_was_killed_is_made_again(repository, tmp_path):
    environment = make(repository, "HEAD", tmp_path)
    place = environment.python.parent.parent
    (place / commit_environment.COMPLETE).unlink()
    (place / "half a package").touch()
    assert make(repository, "HEAD", tmp_path) == environment
    assert not (place / "half a package").exists()


def test_pip_that_fails_says_so_and_leaves_nothing(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nobody answers
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(StudyError, match=r"cannot be installed; is there a network\?.*numpy"):
        make(repository, "HEAD", tmp_path, install_with_pip)
    assert not list((tmp_path / "kept").glob("environment-*"))


@pytest.mark.parametrize(
    ("revision", "message"),
    [
        ("no-such-branch", "knows no commit 'no-such-branch'"),
        ("--all", "knows no commit"),
        ("f" * 40, "knows no commit"),
        ("HEAD^{tree}", "knows no commit"),
        ("0123+changes", r"in no commit.*without \+changes"),
        ("HEAD~1", "has no lock"),
    ],
)
def test_a_commit_that_cannot_be_rerun_is_refused_before_anything_is_made(
    repository, revision, message, tmp_path
):
    with pytest.raises(StudyError, match=message):
        make(repository, revision, tmp_path)
    assert not list(tmp_path.glob("kept/environment-*"))


def test_head_with_changes_in_the_tree_is_refused_and_an_older_commit_is_not(repository):
    (repository / "mlp_med" / "studies" / "cell.py").write_text("changed")
    with pytest.raises(StudyError, match=r"has changes that commit .* lacks \(mlp_med/studies/ce"):
        resolve_commit(repository, "HEAD")
    assert resolve_commit(repository, "HEAD~1") == git(repository, "rev-parse", "HEAD~1")


def test_a_directory_without_a_repository_is_refused(tmp_path):
    with pytest.raises(StudyError, match="--repository"):
        resolve_commit(tmp_path, "HEAD")


def test_a_commit_without_a_trainer_says_so(ledger, study, repository, tmp_path):
    commit(repository, {"mlp_med/studies/worker.py": "x = 1\n"}, "no trainer")
    environment = make(repository, "HEAD", tmp_path)
    assert isinstance(environment, CommitEnvironment)
    (found,) = reproduce(ledger, study.cells[:1], environment, machine=MACHINE)
    assert found.result == "cannot run there"
    assert "no function that trains a cell" in found.reason
