"""`mlp-med advise`, as a user types it, on a ledger of real MLflow."""

import json
from dataclasses import asdict, replace

import pytest
from typer.testing import CliRunner

from mlp_med.cli import app
from mlp_med.errors import CapacityError, EvidenceError, LedgerError
from mlp_med.evidence.claim import Claim
from mlp_med.reports.advice import FEWEST_SEEDS
from tests.ledger.copying import copied
from tests.reports import synthetic
from tests.reports.synthetic import write_study

CLAIM = Claim(
    question="Does finer resolution raise the test AUC?",
    statement="the test AUC at 1.25 mm exceeds that at 5 mm upsampled",
    margin=0.01,
    primary=("1.25mm", "5mm upsampled to 1.25mm"),
)
MODEL = "residual_small_centre"


@pytest.fixture(scope="module", autouse=True)
def _of_a_preset():
    of_before = synthetic.cell_of
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(synthetic, "cell_of", lambda *args: {**of_before(*args), "model": MODEL})
        yield


@pytest.fixture
def ledger(blank_database, tmp_path):
    return copied(blank_database, tmp_path)


@pytest.fixture(scope="module")
def written(blank_database, tmp_path_factory):
    directory = tmp_path_factory.mktemp("written")
    write_study(copied(blank_database, directory), asdict(CLAIM), failed=(), running=())
    return directory / "mlflow.db"


@pytest.fixture
def trained(written, tmp_path):
    """A ledger of one study, all of whose cells are done."""
    return copied(written, tmp_path)


def advise(ledger, *words):
    arguments = ["advise", "--tracking-uri", ledger.tracking_uri, *words]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def advised(ledger, *words):
    return json.loads(advise(ledger, *words, "--json"))


def test_memory_decides_and_the_loss_is_that_of_the_same_cases(trained):
    free = advised(trained)
    assert free["take"]["arm"].startswith(f"1.25 mm, batch 16, {MODEL}, float32")
    assert free["lost"] is None
    assert free["num_cells"] == 5
    # 0.6 GB + 0.9 GB / grid²: 1.18, 0.74 and 0.64 GB at 1.25, 2.5 and 5 mm
    bound = advised(trained, "--memory", "800MB")
    assert bound["take"]["arm"].startswith("2.5 mm")
    assert bound["take"]["memory_bytes"] <= 8e8
    assert bound["without_limit"] == free["take"]
    difference = free["test_auc"]["mean"] - bound["test_auc"]["mean"]
    assert bound["lost"]["effect"] == pytest.approx(difference)
    assert bound["lost"]["ci_low"] < difference < bound["lost"]["ci_high"]


def test_the_text_calls_a_phantom_one_wherever_it_gives_a_figure(trained):
    lines = advise(trained, "--memory", "800MB").splitlines()
    about_accuracy = [line for line in lines if "AUC" in line and "chosen" not in line]
    assert len(about_accuracy) == 2
    assert all("phantom" in line for line in about_accuracy)


def test_time_decides_too(trained):
    quick = advised(trained, "--hours", str(20 / 3600))
    assert quick["take"]["arm"].startswith("5 mm, ")
    assert quick["take"]["seconds"] <= 20


def test_another_machine_is_forecast_and_says_so(trained):
    assert "predicted for NVIDIA Tesla P100" in advise(trained, "--platform", "p100")
    found = advised(trained, "--platform", "p100", "--memory", "4GB")
    assert found["memory_bytes"] == 4 * 10**9
    assert found["take"]["memory_bytes"] != advised(trained)["take"]["memory_bytes"]


def test_what_the_ledger_cannot_say_is_said(ledger):
    write_study(ledger, asdict(CLAIM), num_seeds=3, failed=(("5mm", 1),), running=())
    lines = advise(ledger, "--memory", "16GB")
    assert "1 cells of resolution_matters have no result (5mm); run: mlp-med study run" in lines
    assert f"3 of them are provisional, {FEWEST_SEEDS} would do" in lines
    assert "how 0.625 mm does at batch 16, which would fit" in lines
    # No batch beyond the 800 training crops is offered, however much memory there is.
    assert "up to 800 would fit" in advise(ledger, "--memory", "64TB")
    assert "0.625" not in advise(ledger, "--memory", "700MB")


def test_what_no_cell_knows_is_in_the_datasets_unit_as_it_is_written(ledger, monkeypatch):
    def cell_of(*args, _of=synthetic.cell_of):  # 1.25 is 0.486 µm, and so on
        cell = _of(*args)
        scaled = {key: round(cell[key] * 0.3888, 3) for key in ("resolution", "grid")}
        return {**cell, **scaled}

    monkeypatch.setattr(synthetic, "cell_of", cell_of)
    write_study(ledger, asdict(CLAIM), dataset="camelyon16", failed=(), running=())
    lines = advise(ledger, "--dataset", "camelyon16", "--memory", "64GB")
    assert "how 0.243 µm does at batch 16, which would fit" in lines
    assert "um does" not in lines


def test_a_batch_of_another_resolution_tells_nothing_of_the_one_chosen(ledger, monkeypatch):
    of_before = synthetic.cell_of

    def cell_of(arm, *more):  # as within one memory: the coarsest with the largest batch
        return {**of_before(arm, *more), "global_batch_size": 2 if arm == "1.25mm" else 600}

    monkeypatch.setattr(synthetic, "cell_of", cell_of)
    write_study(ledger, asdict(CLAIM), failed=(), running=(), arms=("1.25mm", "5mm"))
    found = advised(ledger, "--memory", "4GB")
    assert found["take"]["arm"].startswith("1.25 mm, batch 2, ")
    assert any("whether a batch above 2 does better" in step for step in found["next"])


def test_tiles_and_windows_of_the_moments_are_part_of_the_advice(ledger, monkeypatch):
    of_before = synthetic.cell_of
    tiled = {"split": 2, "moment_window_batch": 32}
    monkeypatch.setattr(
        synthetic,
        "cell_of",
        lambda arm, *more: {**of_before(arm, *more), **(tiled if arm == "1.25mm" else {})},
    )
    write_study(ledger, asdict(CLAIM), failed=(), running=())
    taken = advised(ledger)["take"]["arm"]
    assert "split into 2 tiles an axis, the image's label each" in taken
    assert "moments over as many examples as at 32" in taken
    assert "tiles an axis" not in advised(ledger, "--memory", "800MB")["take"]["arm"]


def test_parts_of_the_training_set_are_no_advice(ledger):
    arms = ("1.25mm", "5mm", "1.25mm, 1/2 of the patients")
    write_study(ledger, asdict(CLAIM), failed=(), running=(), arms=arms)
    assert advised(ledger)["num_options"] == 2


def test_the_same_arm_of_two_studies_counts_once_with_the_seeds_of_both(ledger):
    write_study(ledger, asdict(CLAIM), num_seeds=3, failed=(), running=())
    write_study(ledger, asdict(CLAIM), failed=(), running=(), study_hash="study1")
    found = advised(ledger)
    assert len(found["studies"]) == 2
    assert found["num_options"] == 4
    assert found["num_cells"] == 5


def test_studies_of_another_code_or_data_do_not_mix_unless_chosen(ledger):
    old = write_study(ledger, asdict(CLAIM), failed=(), running=(), code_digest="01d" * 5)
    write_study(
        ledger,
        asdict(replace(CLAIM, margin=0.02)),
        failed=(),
        running=(),
        study_hash="study1",
    )
    with pytest.raises(LedgerError, match=rf"different code do not mix.*--study(.|\n)*{old}"):
        advise(ledger)
    assert advised(ledger, "--study", old)["studies"] == [old]


def test_a_ledger_that_is_not_there_is_not_begun(tmp_path):
    nowhere = f"sqlite:///{tmp_path}/runs/mlflow.db"
    with pytest.raises(LedgerError, match="there is no ledger"):
        CliRunner().invoke(app, ["advise", "--tracking-uri", nowhere], catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_without_a_finished_cell_has_no_advice(ledger):
    with pytest.raises(LedgerError, match="no finished cell of a study of luna16"):
        advise(ledger)


def test_bad_requests(trained):
    with pytest.raises(
        EvidenceError, match="none of 4 trained arms is within the budget of 1,000,000 bytes"
    ):
        advise(trained, "--memory", "1MB")
    with pytest.raises(CapacityError, match="positive number of hours"):
        advise(trained, "--hours", "0")
    with pytest.raises(CapacityError, match="positive number of hours"):
        advise(trained, "--hours", "inf")
    with pytest.raises(CapacityError, match="16GB"):
        advise(trained, "--memory", "lots")
