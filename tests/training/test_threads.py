import os
import subprocess
import sys

import pytest

from mlp_med.cores import memory_nodes
from mlp_med.training.threads import available_cores


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A made-up machine of 8 cores; call it with the files of its cgroup file system."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    (tmp_path / "process").mkdir()

    def cores(membership, **files):
        (tmp_path / "process" / "cgroup").write_text(membership)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name.replace("__", "/").replace("CPUMAX", "cpu.max")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return available_cores(tmp_path / "cgroup", tmp_path / "process")

    return cores


def test_without_a_quota_the_affinity_counts(machine):
    assert machine("0::/\n") == 8


def test_version_2_quota(machine):
    assert machine("0::/\n", CPUMAX="300000 100000\n") == 3


def test_version_2_without_limit(machine):
    assert machine("0::/\n", CPUMAX="max 100000\n") == 8


def test_the_tightest_group_above_the_process_counts(machine):
    files = {
        "jobs__cell__CPUMAX": "max 100000\n",
        "jobs__CPUMAX": "200000 100000\n",
        "CPUMAX": "600000 100000\n",
    }
    assert machine("0::/jobs/cell\n", **files) == 2


def test_version_1_quota_in_the_mounted_root(machine):
    files = {
        "cpu__cpu.cfs_quota_us": "450000\n",
        "cpu__cpu.cfs_period_us": "100000\n",
    }
    assert machine("4:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n", **files) == 4


def test_version_1_without_limit(machine):
    files = {"cpu__cpu.cfs_quota_us": "-1\n", "cpu__cpu.cfs_period_us": "100000\n"}
    assert machine("4:cpu,cpuacct:/\n", **files) == 8


def test_a_part_of_a_core_is_one_core(machine):
    assert machine("0::/\n", CPUMAX="50000 100000\n") == 1


def test_affinity_counts_where_it_is_less_than_the_quota(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5})
    assert machine("0::/\n", CPUMAX="700000 100000\n") == 2


def test_on_this_machine_there_is_at_least_one_core():
    assert 1 <= available_cores() <= os.cpu_count()


SCRIPT = """
import sys
from mlp_med.training.threads import configure_threads
configure_threads(3)
import tensorflow as tf
assert tf.config.threading.get_intra_op_parallelism_threads() == 3
assert tf.config.threading.get_inter_op_parallelism_threads() == 1
tf.constant(1) + 1
configure_threads(3)
from mlp_med.errors import TrainingError
try:
    configure_threads(2)
except TrainingError as error:
    print(error)
"""


def test_threads_are_set_before_tensorflow_begins_and_refused_after():
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert "expected to set 2 intra-op threads before" in result.stdout


def nodes_of(tmp_path, **lists):
    for name, text in lists.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "cpulist").write_text(text)
    return memory_nodes(tmp_path)


def test_cores_are_told_by_the_memory_that_they_are_next_to(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 5, 9}, raising=False)
    # Node 2 has memory alone, and this process may use none of node 3.
    found = nodes_of(tmp_path, node0="0-1,8-9\n", node1="2-5\n", node2="\n", node3="6,7\n")
    assert found == [{0, 1, 9}, {2, 5}]


def test_where_nodes_are_not_told_all_cores_are_one(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3}, raising=False)
    assert memory_nodes(tmp_path / "absent") == [{0, 3}]
