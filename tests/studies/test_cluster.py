import json

import pytest

from mlp_med.cli.cluster import join
from mlp_med.errors import StudyError
from mlp_med.ledger.store import Ledger
from mlp_med.studies.cluster import cluster_from_environment

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "2",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NODELIST": "node[08,10]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
    "SLURMD_NODENAME": "node10",
}


@pytest.fixture
def environment(monkeypatch):
    for name in ("TF_CONFIG", *SLURM):
        monkeypatch.delenv(name, raising=False)

    def setting(values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return setting


def tf_config(cluster, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def test_a_process_alone_is_no_cluster(environment, tmp_path):
    assert cluster_from_environment() is None
    environment(tf_config({"worker": ["a:1"]}))
    assert cluster_from_environment() is None
    assert join(Ledger("", None), tmp_path, 4, None) == (4, 1)
    assert join(Ledger("", None), tmp_path, None, 2) == (None, 2)


def test_tf_config_is_read_with_its_chief_first(environment):
    environment(tf_config({"worker": ["a:1", "b:2"]}, index=1))
    assert cluster_from_environment().addresses == ("a:1", "b:2")
    assert cluster_from_environment().index == 1
    environment(tf_config({"worker": ["a:1", "b:2"], "chief": ["c:3"]}, index=1))
    assert cluster_from_environment().addresses == ("c:3", "a:1", "b:2")
    assert cluster_from_environment().index == 2


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "[]",
        "{}",
        *(
            tf_config(*changes)["TF_CONFIG"]
            for changes in (
                ({"worker": ["a:1", "b:2"]}, "worker", 2),
                ({"worker": ["a:1"], "ps": ["b:2"]}),
                ({"worker": ["a:1", "b:2"]}, "evaluator"),
            )
        ),
    ],
)
def test_a_tf_config_of_no_use_is_a_users_mistake(environment, text):
    environment({"TF_CONFIG": text})
    with pytest.raises(StudyError, match="expected TF_CONFIG such as"):
        cluster_from_environment()


def test_slurms_step_is_read_by_tensorflows_resolver(environment):
    environment(SLURM)
    cluster = cluster_from_environment()
    assert cluster.addresses == ("node08:19711", "node08:19712", "node10:19711")
    assert (cluster.index, cluster.session) == (2, "slurm-4711.0")
    environment({"SLURM_STEP_NUM_TASKS": "1"})
    assert cluster_from_environment() is None


def test_nodes_that_the_resolver_orders_otherwise_than_slurm_are_refused(environment):
    environment({**SLURM, "SLURM_STEP_NODELIST": "node[9-10]", "SLURMD_NODENAME": "node10"})
    with pytest.raises(StudyError, match=r"expected task 2 of the step on node9:\d+.*got node10"):
        cluster_from_environment()


def test_a_cluster_trains_one_cell_at_a_time_with_all_its_workers(environment, tmp_path):
    environment(tf_config({"worker": ["a:1", "b:2"]}))
    ledger = Ledger("", None)
    assert join(ledger, tmp_path, None, None) == (1, 2)
    assert join(ledger, tmp_path, 4, 1) == (4, 1)
    with pytest.raises(StudyError, match="expected --workers-per-cell 2"):
        join(ledger, tmp_path, None, 3)
    with pytest.raises(StudyError, match="expected --workers 1"):
        join(ledger, tmp_path, 4, None)
