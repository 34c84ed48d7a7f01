"""Results that could not be told: kept on disk, told later, whole and once."""

import json
import shutil
import subprocess
import sys

import pandas as pd
import pyarrow.parquet as pq
import pytest

from mlp_med.errors import LedgerError, LedgerUnavailableError
from mlp_med.ledger import entries, names, study_run, write
from mlp_med.ledger.delivery import Delivery, start_or_key, tell
from mlp_med.ledger.read import Failure, read_study
from mlp_med.ledger.spool import CellEnd, CellStart, Spool
from mlp_med.ledger.store import open_ledger
from tests.ledger.snapshot import snapshot
from tests.ledger.synthetic import DATASET, cell_params, plan, predictions

POINTS = [("validation_auc", 0.5 + step / 9000, step) for step in range(1, 60)]
WRITES = ("create_run", "log_batch", "log_inputs", "log_artifact", "set_terminated", "set_tag")


@pytest.fixture
def study(ledger):
    return study_run.start_study(ledger, "resolution", "hash0", plan(), {})


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "data")


def start_of(study, seed=0):
    return CellStart(study, cell_params(1.25, seed), f"1.25-{seed}", "1.25mm", {}, DATASET)


def end_of(start, run_id, **changes):
    seed = start.params["seed"]
    told = {"metrics": {"test_auc": 0.9}, "points": POINTS, "predictions": predictions(seed)}
    return CellEnd(start=start, run_id=run_id, **{**told, **changes})


def nobody():
    raise LedgerUnavailableError("nobody answers")


class LostError(ConnectionError):
    """What a server that dies in the middle of an answer looks like."""


class Cut:
    """A ledger's client whose `number`-th write is lost: before it was done, or only its answer."""

    def __init__(self, ledger, monkeypatch, number, *, is_done):
        self.left = number
        for name in WRITES:
            plain = getattr(type(ledger.client), name)

            def write(client, *args, plain=plain, **kwargs):
                self.left -= 1
                if self.left == 0 and not is_done:
                    raise LostError("lost")
                result = plain(client, *args, **kwargs)
                if self.left == 0:
                    raise LostError("lost")
                return result

            monkeypatch.setattr(type(ledger.client), name, write)


def test_what_is_kept_comes_back_as_it_was(spool, study):
    end = end_of(start_of(study), "run", tags={"a": "b"})
    path = spool.keep(end)
    with spool.claimed(path) as found:
        pd.testing.assert_frame_equal(found.predictions, end.predictions)
        assert (found.points, found.start, found.at_ms) == (POINTS, end.start, end.at_ms)
        assert (found.metrics, found.tags) == (end.metrics, end.tags)
        with spool.claimed(path) as second:
            assert second is None  # one process at a time
    assert spool.paths() == [path]
    failed = end_of(start_of(study), "run", predictions=None, failure=Failure("killed", "it was"))
    with spool.claimed(spool.keep(failed)) as found:
        assert (found.failure, found.predictions) == (failed.failure, None)


@pytest.mark.parametrize("is_started", [True, False])
@pytest.mark.parametrize("is_done", [True, False], ids=["answer lost", "write lost"])
def test_wherever_a_delivery_is_cut_the_next_completes_it_and_nothing_is_twice(
    blank_database, tmp_path, monkeypatch, is_done, is_started
):
    monkeypatch.setattr(entries, "METRICS_PER_BATCH", 40)

    def run(number):
        shutil.copy(blank_database, tmp_path / f"{number}.db")
        ledger = open_ledger(f"sqlite:///{tmp_path}/{number}.db")
        study = study_run.start_study(ledger, "resolution", "hash0", plan(), {})
        spool = Spool(tmp_path / f"data{number}")
        start = start_of(study)
        with monkeypatch.context() as patched:
            cut = Cut(ledger, patched, number, is_done=is_done)
            run_id = start_or_key(ledger, start) if is_started else start.key
            tell(lambda: ledger, spool, end_of(start, run_id))
        num_kept = len(spool.paths())
        assert Delivery(ledger, spool).deliver() == []
        assert spool.paths() == []
        return snapshot(ledger, study), num_kept, cut.left

    undisturbed, num_kept, left = run(1000)
    assert num_kept == 0
    (cell,) = undisturbed["1.25-0"]
    assert len(cell["points"]) == len(POINTS) + 5  # its axes and its AUC
    num_writes = 1000 - left
    assert num_writes > 5
    for number in range(1, num_writes + 1):
        found, num_kept, left = run(number)
        assert left <= 0
        assert num_kept == 1 or (is_started and number <= 3)  # lost at the start: told at the end
        assert found == undisturbed


def test_a_server_that_comes_back_gets_all_that_was_kept(ledger, study, spool):
    for seed in (0, 1):
        start = start_of(study, seed)
        tell(nobody, spool, end_of(start, start.key))
    assert [cell.state for cell in read_study(ledger, study).cells] == ["planned"] * 4
    delivery = Delivery(ledger, spool)
    delivery.finish(seconds=0)
    assert {cell.state for cell in read_study(ledger, study).cells[:2]} == {"done"}
    assert spool.paths() == []


def test_a_run_taken_for_interrupted_becomes_done_and_no_failure_is_left(ledger, study, spool):
    start = start_of(study)
    run_id = start_or_key(ledger, start)
    tell(nobody, spool, end_of(start, run_id))
    write.mark_interrupted(ledger, study)
    Delivery(ledger, spool).deliver()
    cell = read_study(ledger, study).cells[0]
    assert (cell.state, cell.failure, cell.run_id) == ("done", None, run_id)


def test_a_failure_does_not_replace_a_result_that_is_kept(ledger, study, spool):
    """A cell that is killed between keeping its result and telling it has a result."""
    start = start_of(study)
    run_id = start_or_key(ledger, start)
    spool.keep(end_of(start, run_id))
    failure = Failure("killed", "ended by SIGKILL")
    tell(lambda: ledger, spool, end_of(start, run_id, predictions=None, failure=failure))
    assert read_study(ledger, study).cells[0].state == "done"
    # And when another process has delivered it in between:
    tell(lambda: ledger, spool, end_of(start, run_id, predictions=None, failure=failure))
    assert read_study(ledger, study).cells[0].state == "done"


def test_a_failure_is_kept_and_told_too(ledger, study, spool):
    start = start_of(study)
    failure = Failure("killed", "ended by SIGKILL")
    tell(nobody, spool, end_of(start, start.key, predictions=None, failure=failure))
    Delivery(ledger, spool).deliver()
    cell = read_study(ledger, study).cells[0]
    assert (cell.state, cell.failure) == ("failed", failure)


def test_a_cell_that_another_sweep_has_finished_is_not_told_again(ledger, study, spool):
    mine, other = start_of(study), start_of(study)
    run_id = start_or_key(ledger, mine)
    tell(nobody, spool, end_of(mine, run_id))
    tell(lambda: ledger, Spool(spool.directory / "other"), end_of(other, other.key))
    before = read_study(ledger, study).cells[0]
    Delivery(ledger, spool).deliver()
    assert read_study(ledger, study).cells[0] == before
    assert spool.paths() == []
    tags = ledger.client.get_run(run_id).data.tags
    assert (tags[names.STATE], tags[names.FAILURE_KIND]) == ("failed", "duplicate")


def test_a_cell_that_was_started_twice_since_an_answer_was_lost_has_one_run(ledger, study, spool):
    start = start_of(study)
    run_id = start_or_key(ledger, start)
    second = start_or_key(ledger, start)  # as MLflow's client asks again
    assert second != run_id
    tell(lambda: ledger, spool, end_of(start, second))
    ((cell,),) = snapshot(ledger, study).values()
    assert cell["tags"][names.STATE] == "done"


def test_results_of_another_ledger_are_left_alone(ledger, study, spool):
    elsewhere = start_of("0" * 32)
    path = spool.keep(end_of(elsewhere, elsewhere.key))
    assert Delivery(ledger, spool).deliver() == []
    assert spool.paths() == [path]


def test_a_ledger_that_stays_away_ends_in_an_error_that_says_where_the_results_are(
    ledger, study, spool, monkeypatch
):
    start = start_of(study)
    tell(nobody, spool, end_of(start, start.key))
    monkeypatch.setattr(type(ledger), "require_answer", lambda self: nobody())
    delivery = Delivery(ledger, spool)
    delivery.deliver_if_possible()
    with pytest.raises(LedgerUnavailableError, match=r"kept in .*spool: the same command delivers"):
        delivery.finish(seconds=0)
    assert len(spool.paths()) == 1


def test_a_result_that_the_ledger_would_refuse_is_not_kept(ledger, study, spool):
    start = start_of(study)
    with pytest.raises(LedgerError, match="finite metrics"):
        tell(lambda: ledger, spool, end_of(start, "", metrics={"test_auc": float("nan")}))
    assert spool.paths() == []


def test_a_disk_that_is_full_for_the_spool_does_not_keep_a_result_from_the_ledger(
    ledger, study, spool, monkeypatch
):
    start = start_of(study)
    run_id = start_or_key(ledger, start)

    def full(end):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "keep", full)
    tell(lambda: ledger, spool, end_of(start, run_id))
    assert read_study(ledger, study).cells[0].state == "done"
    with pytest.raises(LedgerUnavailableError, match="nobody answers"):
        tell(nobody, spool, end_of(start_of(study, 1), "x"))


def test_a_broken_file_is_named_and_stops_no_other(ledger, study, spool, caplog):
    whole, broken = start_of(study, 0), start_of(study, 1)
    spool.keep(end_of(whole, whole.key))
    path = spool.keep(end_of(broken, broken.key))
    table = pq.read_table(path)
    altered = table.to_pandas().assign(score=0.5).astype({"score": "float32"})
    metadata = json.loads(table.schema.metadata[b"mlp_med"])
    path.write_bytes(path.read_bytes()[:-20])
    assert Delivery(ledger, spool).deliver() == []
    assert "broken file" in caplog.text
    assert str(path) in caplog.text
    assert [cell.state for cell in read_study(ledger, study).cells[:2]] == ["done", "planned"]
    new = table.from_pandas(altered, preserve_index=False)
    pq.write_table(new.replace_schema_metadata({b"mlp_med": json.dumps(metadata)}), path)
    caplog.clear()
    Delivery(ledger, spool).deliver()
    assert "not those that were written" in caplog.text


KILLED_WHILE_WRITING = """
import os, sys, signal
import pyarrow.parquet as pq
from mlp_med.ledger.spool import Spool
from tests.ledger.test_delivery import end_of, start_of
def half(table, file, plain=pq.write_table):
    file.write(b"PAR1half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
pq.write_table = half
start = start_of("study")
Spool(sys.argv[1]).keep(end_of(start, start.key))
"""


def test_what_is_killed_while_it_is_written_is_no_result_and_is_removed(ledger, study, spool):
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, str(spool.directory.parent)]
    assert subprocess.run(command).returncode == -9
    assert len(list(spool.directory.iterdir())) == 1
    assert spool.paths() == []
    Delivery(ledger, spool).deliver()
    assert list(spool.directory.iterdir()) == []
