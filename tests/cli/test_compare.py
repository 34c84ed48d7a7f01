"""`mlp-med study compare`, as a user types it, on ledgers of real MLflow."""

import json
from dataclasses import asdict

import pytest
from typer.testing import CliRunner

from mlp_med.cli import app
from mlp_med.errors import EvidenceError, LedgerError
from mlp_med.evidence.claim import Claim
from tests.ledger.copying import copied
from tests.reports import synthetic
from tests.reports.synthetic import write_study

CLAIM = Claim(
    question="Does finer resolution raise the test AUC?",
    statement="the test AUC at 1.25 mm exceeds that at 5 mm upsampled",
    margin=0.01,
    primary=("1.25mm", "5mm upsampled to 1.25mm"),
)
WHOLE = {"failed": (), "running": (), "num_seeds": 3}


@pytest.fixture(scope="module")
def written(blank_database, tmp_path_factory):
    """The database of a study, and its run."""
    directory = tmp_path_factory.mktemp("written")
    ledger = copied(blank_database, directory)
    return directory / "mlflow.db", write_study(ledger, asdict(CLAIM), **WHOLE, study_hash="a")


@pytest.fixture
def first(written, tmp_path):
    """A ledger that holds this study already, and its run."""
    database, a = written
    return copied(database, tmp_path), a


@pytest.fixture
def ledger(blank_database, tmp_path):
    return copied(blank_database, tmp_path)


def run(*words):
    return CliRunner().invoke(app, ["study", "compare", *words], catch_exceptions=False)


def compared(*words):
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_the_same_study_on_two_machines_is_alike_bit_for_bit(first, blank_database, tmp_path):
    one, a = first
    (tmp_path / "other").mkdir()
    other = copied(blank_database, tmp_path / "other")
    b = write_study(other, asdict(CLAIM), **WHOLE)
    other.client.set_tag(b, "mlp_med.processor", "another")
    found = compared(
        a, b, "--tracking-uri", one.tracking_uri, "--tracking-uri-b", other.tracking_uri
    )
    for arm in found["arms"]:
        assert (arm["identical"], arm["same_cells"]) == (3, 3)
        assert arm["effect"] == 0
        assert arm["ci_low"] < 0 < arm["ci_high"]
        assert arm["seconds_ratio"] == arm["memory_ratio"] == 1
    assert found["differs"] == {"processor": ["not recorded", "another"]}
    assert found["only"] == [[], []]


def test_another_network_is_told_and_its_difference_is_that_of_the_scores(first, monkeypatch):
    ledger, a = first
    of_before, scored = synthetic.cell_of, synthetic.predictions_of
    monkeypatch.setattr(synthetic, "cell_of", lambda *args: {**of_before(*args), "norm": "group"})
    monkeypatch.setattr(  # every arm as good as the best
        synthetic, "predictions_of", lambda arm, seed, **more: scored("1.25mm", seed, **more)
    )
    b = write_study(ledger, asdict(CLAIM), **WHOLE, study_hash="b")
    found = compared(a, b, "--tracking-uri", ledger.tracking_uri)
    coarse = next(arm for arm in found["arms"] if arm["arm"] == "5mm")
    assert coarse["changed"] == {"norm": ["batch", "group"]}
    assert coarse["effect"] == pytest.approx(coarse["auc"][1] - coarse["auc"][0])
    assert coarse["ci_low"] > 0
    back = compared(b, a, "--tracking-uri", ledger.tracking_uri)
    mirrored = next(arm for arm in back["arms"] if arm["arm"] == "5mm")
    assert mirrored["effect"] == pytest.approx(-coarse["effect"])


def test_an_arm_that_was_renamed_is_not_taken_by_another_of_its_new_name(ledger, monkeypatch):
    arms = {**WHOLE, "arms": ("1.25mm", "5mm")}
    a = write_study(ledger, asdict(CLAIM), **arms, study_hash="a")
    # In B the name "1.25mm" means what "5mm" means in A.
    of_before = synthetic.cell_of
    monkeypatch.setattr(synthetic, "cell_of", lambda arm, *more: of_before("5mm", *more))
    b = write_study(ledger, asdict(CLAIM), **{**WHOLE, "arms": ("1.25mm",)}, study_hash="b")
    found = compared(a, b, "--tracking-uri", ledger.tracking_uri)
    assert [(arm["arm"], arm["changed"]) for arm in found["arms"]] == [("5mm", {})]
    assert found["only"] == [["1.25mm"], []]


def test_an_arm_is_not_taken_for_its_control_of_other_seeds(ledger, monkeypatch):
    of_before = synthetic.cell_of
    monkeypatch.setattr(synthetic, "cell_of", lambda arm, *more: of_before("5mm", *more))
    arms = {**WHOLE, "arms": ("1.25mm", "5mm")}  # two names of the same fields
    a = write_study(ledger, asdict(CLAIM), **arms, study_hash="a")
    b = write_study(ledger, asdict(CLAIM), **arms, study_hash="b")
    found = compared(a, b, "--tracking-uri", ledger.tracking_uri)
    assert [(arm["arm"], arm["identical"]) for arm in found["arms"]] == [("1.25mm", 3), ("5mm", 3)]


def test_the_table_says_phantom_arms_that_one_lacks_and_what_has_no_interval(first):
    ledger, a = first
    one_seed = {**WHOLE, "num_seeds": 1, "arms": ("1.25mm", "5mm")}
    b = write_study(ledger, asdict(CLAIM), **one_seed, study_hash="b")
    result = run(a, b, "--tracking-uri", ledger.tracking_uri)
    assert result.exit_code == 0
    assert "(PHANTOM)" in result.output
    assert "in A alone: 2.5mm, 5mm upsampled to 1.25mm" in result.output
    assert "no interval: one seed" in result.output


def test_a_study_is_found_by_name_and_commit(first):
    ledger, a = first
    b = write_study(ledger, asdict(CLAIM), **WHOLE, study_hash="b")
    ledger.client.set_tag(b, "mlp_med.commit", "feed" * 10)
    uri = ("--tracking-uri", ledger.tracking_uri)
    found = compared("resolution_matters@0123456", "resolution_matters@feed", *uri)
    assert found["differs"]["commit"] == ["0123456789abcdef0123456789abcdef01234567", "feed" * 10]
    assert found == compared(a, b, *uri)
    with pytest.raises(LedgerError, match="no study resolution_matters of commit beef"):
        run("resolution_matters@beef", b, *uri)
    with pytest.raises(LedgerError, match="expected two studies"):
        run(a, "resolution_matters@0123456", *uri)


def test_other_crops_are_refused(first, monkeypatch):
    ledger, a = first
    of_before = synthetic.cell_of
    monkeypatch.setattr(
        synthetic, "cell_of", lambda *args: {**of_before(*args), "dataset_digest": "f" * 64}
    )
    b = write_study(ledger, asdict(CLAIM), **WHOLE, study_hash="b")
    with pytest.raises(EvidenceError, match=r"digest .* Choose studies of one build"):
        run(a, b, "--tracking-uri", ledger.tracking_uri)
