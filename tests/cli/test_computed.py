import shutil

import pytest
from typer.testing import CliRunner

from mlp_med.capacity.platforms import Platform
from mlp_med.capacity.probe import Probe
from mlp_med.cli import app
from mlp_med.cli import platforms as platforms_verb
from mlp_med.errors import StudyError
from mlp_med.ledger.read import read_study
from mlp_med.ledger.store import open_ledger
from mlp_med.ledger.tables import load_tables
from mlp_med.studies import computed
from tests.reports.reading import Page

HERE = Platform(
    name="this-machine",
    title="this machine",
    kind="cpu",
    memory_bytes=16 * 10**9,
    bandwidth=2e10,
    peak_flops={"float32": 1e11},
    measured=True,
    sources={"memory": "measured"},
)


@pytest.fixture
def ledger_uri(blank_database, tmp_path, monkeypatch):
    shutil.copy(blank_database, tmp_path / "mlflow.db")
    monkeypatch.setattr(platforms_verb, "measured_platform", lambda out: HERE)
    monkeypatch.setattr(computed, "probe", lambda workload, **_: Probe(9 * 10**8, 0, 10**9, 0.1))
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_memory_fits_is_kept_and_its_page_made_of_the_ledger(ledger_uri, tmp_path):
    where = ["--tracking-uri", ledger_uri]
    run("study", "compute", "memory_fits", "--measure", "--price-per-hour", "2.5", *where)
    output = run("report", "memory_fits", "--out", str(tmp_path / "page"), *where)
    page = Page((tmp_path / "page" / "index.html").read_text())
    sentence = output.splitlines()[-2]
    assert sentence in page.text
    assert "are infeasible" in sentence
    pictures = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) == 5  # a map a task, and the cells that were measured
    assert "h100, predicted" in page.text
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe"}
    ledger = open_ledger(ledger_uri)
    record = read_study(ledger, name="memory_fits")
    assert record.tags["answer"] == sentence
    assert record.plan["options"] == ["--measure", "--price-per-hour", "2.5"]
    tables = load_tables(ledger, record.run_id)
    assert (tables["feasibility"]["price"].dropna() > 0).all()
    assert set(tables["measured"]["state"]) <= {"done", "infeasible"}
    # The same design again takes the place of the former, and the page does not change.
    first = (tmp_path / "page" / "index.html").read_bytes()
    run("report", "memory_fits", "--out", str(tmp_path / "again"), *where)
    assert (tmp_path / "again" / "index.html").read_bytes() == first


def test_platforms_says_what_steps_wait_for(ledger_uri, tmp_path):
    where = ["--tracking-uri", ledger_uri]
    run("study", "compute", "platforms", *where)
    run("report", "platforms", "--out", str(tmp_path / "page"), *where)
    page = Page((tmp_path / "page" / "index.html").read_text())
    assert "Steps by what they wait for: training" in page.text
    assert "No cell was trained for this study" in page.text
    rows = page.table("Training: the least a batch can take")
    assert {row[3] for row in rows} <= {"compute", "memory", "IO"}
    assert len(rows) == len(page.table("Inference: the least a batch can take"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["study", "compute", "resolution_matters"], "no computed study"),
        (["study", "compute", "platforms", "--price-per-hour", "-1"], "a price above 0"),
        (["study", "run", "platforms"], "run: mlp-med study compute platforms"),
    ],
)
def test_bad_input_is_named(words, message, ledger_uri):
    with pytest.raises(StudyError, match=message):
        run(*words, "--tracking-uri", ledger_uri)


def test_the_list_has_them():
    assert "platforms: Is a training or inference step bound" in run("study", "list")
