"""`mlp-med verdict` as a user of another framework types it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlp_med.cli import main
from mlp_med.evidence.simulation import SimulatedStudy, simulate_arms

# A user of PyTorch has none of these: importing one fails.
BARRED = ("tensorflow", "keras", "mlflow", "tensorflow_datasets", "SimpleITK")
WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({BARRED})); "
MAIN = WITHOUT + "from mlp_med.cli import main; main()"


def verdict(*arguments, cwd):
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "verdict", *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(Path.cwd()), "COLUMNS": "200"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("predictions")
    a, b = simulate_arms(SimulatedStudy(effect=0.1, num_patients=120), seed=2)
    scanners = np.where(a["patient"].str[-1].isin(list("02468")), "A", "B")
    a.assign(scanner=scanners).to_parquet(directory / "fine.parquet", index=False)
    b.to_csv(directory / "coarse.csv", index=False)
    b.assign(score=3 * b["score"]).to_parquet(directory / "logits.parquet", index=False)
    b.rename(columns={"score": "prob"}).to_parquet(directory / "prob.parquet", index=False)
    return directory


def test_two_files_give_a_verdict_without_tensorflow_and_mlflow(files):
    printed = verdict("fine.parquet", "coarse.csv", "--out", "page", "--margin", "0.02", cwd=files)
    found = json.loads((files / "page/verdict.json").read_text())
    assert (found["verdict"], found["margin"]) == ("supported", 0.02)
    assert [row["arm"] for row in found["arms"]] == ["fine", "coarse"]
    assert printed.splitlines()[0] == found["sentence"]
    assert found["sentence"] in (files / "page/index.html").read_text()


def test_names_and_claim_are_the_users(files):
    options = ["--name-a", "A 3D", "--name-b", "B 2D", "--claim", "3D beats 2D", "--out", "named"]
    options += ["--by", "scanner"]
    printed = verdict("fine.parquet", "coarse.csv", *options, "--dataset", "knees", cwd=files)
    assert "On knees, “3D beats 2D” is supported; AUC of A 3D minus B 2D" in printed
    page = (files / "named/index.html").read_text()
    assert "A minus B" in page
    assert "--by scanner" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fine.parquet", "absent.parquet"], "cannot read absent.parquet"),
        (["fine.parquet", "fine.parquet"], "given as both arms"),
        (["fine.parquet", "prob.parquet"], "rename prob to score"),
        (["fine.parquet", "logits.parquet"], "give --logits"),
        (["fine.parquet", "coarse.csv", "--margin", "7"], "margin"),
        (["fine.parquet", "coarse.csv", "--name-a", "x", "--name-b", "x"], "--name-a and --name-b"),
        (["fine.parquet", "coarse.csv", "--by", "age"], "there are: scanner"),
        (["fine.parquet"], "Missing argument"),
    ],
)
def test_a_users_mistake_is_one_clear_message(files, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "argv", ["mlp-med", "verdict", *arguments, "--out", "none"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (files / "none").exists()
