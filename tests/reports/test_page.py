from dataclasses import replace

import pytest

from mlp_med.ledger.credentials import without_credentials
from mlp_med.reports.page import commands


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://name:secret@host:5000/a", "http://host:5000/a"),
        ("postgresql://name:secret@host/db", "postgresql://host/db"),
        ("sqlite:////runs/mlflow.db", "sqlite:////runs/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
    ],
)
def test_credentials_do_not_get_into_a_page(uri, shown):
    assert without_credentials(uri) == shown


def test_the_commands_can_be_pasted_whatever_the_paths(study):
    _, record = study
    hostile = {**record.plan["dataset"], "source": "/my scans/$HOME; rm -rf"}
    record = replace(record, plan={**record.plan, "dataset": hostile})
    run, report, rerun = commands(record, "sqlite:////runs/mlflow.db").splitlines()
    assert "--source '/my scans/$HOME; rm -rf'" in run
    assert report.startswith("mlp-med report resolution_matters --size small --dataset luna16")
    assert rerun == "mlp-med rerun RUN_ID --tracking-uri sqlite:////runs/mlflow.db"
