from dataclasses import asdict
from pathlib import Path

import pytest

from mlp_med.evidence.claim import AS_USED, COMPUTE, Claim
from mlp_med.evidence.controls import ControlOutcome, Controls
from mlp_med.ledger import study_run
from mlp_med.ledger.read import read_study
from mlp_med.reports import figures
from mlp_med.reports.study_report import write_report
from tests.ledger.copying import copied
from tests.reports.synthetic import write_study

CLAIM = Claim(
    question="Does finer resolution raise the test AUC, or only the finer grid?",
    statement="the test AUC at 1.25 mm exceeds that at 5 mm upsampled to the same grid",
    margin=0.01,
    primary=("1.25mm", "5mm upsampled to 1.25mm"),
    secondary={
        COMPUTE: ("5mm upsampled to 1.25mm", "5mm"),
        AS_USED: ("1.25mm", "5mm"),
    },
)


CONTROLS = Controls(
    "passed",
    "",
    (
        ControlOutcome("negative", True, "phantom: effect +0.0010 (-0.0030 to +0.0050)"),
        ControlOutcome("positive", True, "phantom: effect +0.3000 (+0.2500 to +0.3500)"),
    ),
)


@pytest.fixture(scope="session")
def make_study(blank_database, tmp_path_factory):
    """A function that writes a study into a ledger of its own: (ledger, record)."""

    def make(**options):
        directory = tmp_path_factory.mktemp("ledger")
        ledger = copied(blank_database, directory)
        run_id = write_study(ledger, asdict(CLAIM), **{"num_seeds": 3, **options})
        return ledger, read_study(ledger, run_id)

    return make


@pytest.fixture(scope="session")
def study(make_study):
    """Four arms of three seeds, one cell failed and one still running; for reading only."""
    return make_study(failed=(("5mm", 1),), running=(("2.5mm", 2),))


@pytest.fixture(scope="session")
def _whole_study_database(make_study):
    ledger, record = make_study(failed=(), running=())
    return Path(ledger.tracking_uri.removeprefix("sqlite:///")), record.run_id


@pytest.fixture
def whole_study(_whole_study_database, tmp_path_factory):
    """Four arms of three seeds, every cell done; a test may change ledger and record."""
    database, run_id = _whole_study_database
    ledger = copied(database, tmp_path_factory.mktemp("whole"))
    return ledger, read_study(ledger, run_id)


@pytest.fixture
def _undrawn(monkeypatch):
    """For tests of a report's words: to draw its figures takes most of its time."""
    monkeypatch.setattr(figures, "_written", lambda figure, kind, metadata: kind.encode())


@pytest.fixture(scope="session")
def report(study, tmp_path_factory):
    """The report of `study`; for reading only."""
    return write_report(*study, tmp_path_factory.mktemp("report"), controls=CONTROLS)


@pytest.fixture(scope="session")
def patches_report(make_study, tmp_path_factory):
    """The report of real patches whose patients nobody knows, half of them by older code."""
    ledger, record = make_study(phantom=False, patients_known=False)
    study_run.log_crops(ledger, record.run_id, b"\x89PNG crops")
    for number, cell in enumerate(record.in_state("done")):
        ledger.client.set_tag(cell.run_id, "mlp_med.code_digest", "new" if number % 2 else "old")
    return write_report(
        ledger,
        read_study(ledger, record.run_id),
        tmp_path_factory.mktemp("patches"),
        controls=CONTROLS,
    )
