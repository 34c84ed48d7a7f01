"""Ray's own memory monitor: what it ends is a failure with a name, and is not tried again."""

import time
from collections import Counter

import psutil
import pytest

from mlp_med.ledger.store import open_ledger
from mlp_med.studies.launchers import ray_launcher
from mlp_med.studies.orders import Done, Failed
from mlp_med.studies.room import Needs
from mlp_med.studies.run import run_study
from tests.faults import fault
from tests.studies.launcher_work import do_as_the_seed_says
from tests.studies.ray_nodes import needs_ray, ray_cluster
from tests.studies.sweep_work import study_of

SLEEPS = 5  # the seed of a cell that would run for ten minutes


@pytest.mark.slow
@needs_ray
@fault(
    "out-of-memory kill of a cell",
    sees="failed ARM: out_of_memory: ended by Ray, since node … was full",
    lost="that cell's training",
    goes_on="other cells run on; the same command tries it again",
)
def test_a_cell_that_rays_memory_monitor_ends_is_no_lost_node(make_cell, tmp_path):
    used = psutil.virtual_memory()
    settings = {  # so low that the node is full whatever runs on it
        "RAY_memory_usage_threshold": f"{(1 - used.available / used.total) / 2:.3f}",
        "RAY_memory_monitor_refresh_ms": "1000",
    }
    study = study_of([make_cell(seed=SLEEPS)], str(tmp_path))
    ledger, ends = open_ledger(f"sqlite:///{tmp_path}/mlflow.db"), []

    def launch(jobs, work, on_event, *, is_lost):
        ray_launcher.RayLauncher([])(jobs, do_as_the_seed_says, on_event, is_lost=is_lost)

    def note(cell, event):
        if isinstance(event, Done | Failed):
            ends.append(event)

    from mlp_med.studies.launchers.ray_cluster import joined

    with ray_cluster(1, **settings) as (head, _), joined(head):
        record = run_study(
            study, ledger, launch=launch, needs_of=lambda cells: [Needs(1)], on_event=note
        )
        if (noted := tmp_path / f"{SLEEPS}.pid").exists():  # it had begun
            deadline = time.monotonic() + 20
            while psutil.pid_exists(int(noted.read_text().split("\n")[0])):
                assert time.monotonic() < deadline
                time.sleep(0.1)
    assert [end.kind for end in ends] == ["out_of_memory"]
    assert "ended by Ray, since node 127.0.0.2 was full" in ends[0].message
    (cell,) = record.cells
    assert (cell.state, cell.failure.kind) == ("failed", "out_of_memory")
    assert "memory" in cell.failure.message
    runs = ledger.client.search_runs(
        [ledger.client.get_run(record.run_id).info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{record.run_id}'",
    )
    assert Counter(run.data.tags["mlp_med.state"] for run in runs) == {"failed": 1}
