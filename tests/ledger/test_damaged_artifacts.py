"""An artifact that is not what was logged is refused, and what to do is said."""

import pytest

from mlp_med.errors import LedgerError
from mlp_med.ledger import names
from mlp_med.ledger.read import load_predictions, read_cell, read_study
from mlp_med.ledger.store import open_ledger
from tests.reports.conftest import CLAIM, asdict
from tests.reports.synthetic import write_study


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    ledger = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/mlflow.db")
    return ledger, write_study(ledger, asdict(CLAIM), num_seeds=1, failed=(), running=())


def artifact(ledger, run_id, name):
    (path,) = ledger.artifact_root.rglob(f"{run_id}/artifacts/{name}")
    return path


def other_scores(path, others):
    path.write_bytes(others[0].read_bytes())


def one_bit(path, others):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path, others):
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("spoil", [one_bit, cut_short, other_scores])
def test_predictions_that_are_not_those_logged_are_refused(written, spoil):
    ledger, study = written
    cells = read_study(ledger, study).cells
    path, *others = (artifact(ledger, c.run_id, names.PREDICTIONS_ARTIFACT) for c in cells)
    before = path.read_bytes()
    sound = load_predictions(ledger, cells[0].run_id)
    try:
        spoil(path, others)
        with pytest.raises(LedgerError, match="are damaged: expected a file with SHA-256") as error:
            load_predictions(ledger, cells[0].run_id)
        assert cells[0].run_id in str(error.value)
        assert "mlp-med study verify" in str(error.value)
    finally:
        path.write_bytes(before)
    assert load_predictions(ledger, cells[0].run_id).equals(sound)


def test_a_run_older_than_digests_is_read_and_its_damage_found_where_parquet_tells(written):
    ledger, study = written
    run_id = read_study(ledger, study).cells[1].run_id
    ledger.client.delete_tag(run_id, names.PREDICTIONS_DIGEST)
    assert len(load_predictions(ledger, run_id))
    cut_short(artifact(ledger, run_id, names.PREDICTIONS_ARTIFACT), ())
    with pytest.raises(LedgerError, match="are no Parquet table"):
        load_predictions(ledger, run_id)


def test_the_cell_whose_run_was_deleted_is_planned_again(written):
    """What the message advises: the study then trains that cell and no other."""
    ledger, study = written
    lost = read_study(ledger, study).cells[2]
    ledger.client.delete_run(lost.run_id)
    cells = read_study(ledger, study).cells
    assert [cell.hash for cell in cells if cell.state == "planned"] == [lost.hash]
    assert read_cell(ledger, cells[0].run_id).state == "done"


@pytest.mark.parametrize("content", ["", "{", "[1]", "[" * 100_000])
def test_a_damaged_plan_is_refused(written, content):
    ledger, study = written
    path = artifact(ledger, study, names.PLAN_ARTIFACT)
    before = path.read_text()
    path.write_text(content)
    with pytest.raises(LedgerError, match=r"study\.json: .*backup"):
        read_study(ledger, study)
    path.write_text(before)
