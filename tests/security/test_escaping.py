"""Pages and figures show other people's strings, and run none of them."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mlp_med.evidence.simulation import SimulatedStudy, simulate_arms
from mlp_med.ledger import write
from mlp_med.ledger.read import read_study
from mlp_med.ledger.store import open_ledger
from mlp_med.reports.study_report import write_report
from tests.reports.conftest import CLAIM, CONTROLS
from tests.reports.reading import Page
from tests.reports.synthetic import write_study

ROOT = Path(__file__).parents[2]
ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}$\\frac{$"
EXECUTING = {"script", "iframe", "object", "embed", "form", "base", "link", "svg", "foreignObject"}


def require_harmless(page: Path) -> Page:
    read = Page(page.read_text())
    for tag, attributes in read.elements:
        assert tag not in EXECUTING
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert attributes.get(name, "data:image/").startswith(("data:image/", "#"))
    return read


def require_harmless_figures(folder: Path) -> None:
    """Every SVG file draws its text, and holds no element that runs or loads anything."""
    found = 0
    for path in sorted(folder.glob("*.svg")):
        tree = ElementTree.fromstring(path.read_text())
        for element in tree.iter():
            assert element.tag.rpartition("}")[2] not in EXECUTING - {"svg"}, path
            assert not any(name.startswith("on") for name in element.attrib)
        assert b"<script" not in path.read_bytes()  # in a comment either
        found += 1
    assert found


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """The report of a study whose every free text is an attack, one cell of it failed."""
    made = tmp_path_factory.mktemp("attacked")
    ledger = open_ledger(f"sqlite:///{made}/ledger/mlflow.db")
    claim = {**asdict(CLAIM), "question": ATTACK, "statement": ATTACK}
    study = write_study(
        ledger, claim, num_seeds=2, dataset=ATTACK, message=ATTACK, phantom=False, question=ATTACK
    )
    for cell in read_study(ledger, study).cells:
        if cell.state == "done":
            for tag in ("machine", "processor", "commit", "version.numpy", "code_digest"):
                ledger.client.set_tag(cell.run_id, f"mlp_med.{tag}", ATTACK)
    write.log_crops(ledger, study, b"\x89PNG\r\n\x1a\n" + ATTACK.encode())
    record = read_study(ledger, study)
    record.plan["dataset"]["source"] = f"/data/{ATTACK}"
    outcome = replace(CONTROLS.outcomes[0], summary=ATTACK, passed=True)
    controls = replace(CONTROLS, outcomes=(outcome, *CONTROLS.outcomes[1:]))
    write_report(ledger, record, made / "report", controls=controls)
    return made / "report"


def test_a_page_shows_every_string_and_runs_none(attacked):
    page = require_harmless(attacked / "index.html")
    assert page.text.count("<script>alert(1)</script>") >= 6
    assert "{{7*7}}" in page.text  # nor is a template made of it
    assert "loss became" not in page.text  # the failure's message is the attack
    assert any(ATTACK in cell for row in page.table("Cells without a result") for cell in row)


def test_figures_show_strings_as_text(attacked):
    require_harmless_figures(attacked)


def test_verdict_json_holds_the_string_as_it_is(attacked):
    found = json.loads((attacked / "verdict.json").read_text())
    assert found["claim"] == found["dataset"] == ATTACK


def test_the_page_of_anyones_predictions_runs_nothing(tmp_path):
    """Names of files, arms, claim, dataset, cases and patients, by the real command."""
    a, b = simulate_arms(SimulatedStudy(effect=0.1, num_patients=60), seed=2)
    for name, table in (("<script>a", a), ("b<img onerror=x>", b)):
        table = table.assign(id=table["id"] + ATTACK, patient=table["patient"].astype(str) + ATTACK)
        table.to_parquet(tmp_path / f"{name}.parquet", index=False)
    command = [sys.executable, "-m", "mlp_med.cli", "verdict", "<script>a.parquet"]
    command += ["b<img onerror=x>.parquet", "--name-a", ATTACK, "--claim", ATTACK]
    subprocess.run(
        [*command, "--dataset", ATTACK, "--out", "page"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        check=True,
        capture_output=True,
        timeout=300,
    )
    page = require_harmless(tmp_path / "page" / "index.html")
    assert page.text.count("<script>alert(1)</script>") >= 3
    assert "b<img onerror=x>.parquet" in page.text
    require_harmless_figures(tmp_path / "page")
