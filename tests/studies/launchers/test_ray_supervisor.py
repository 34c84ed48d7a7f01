import sys
from dataclasses import replace

import pytest

from mlp_med.errors import StudyError
from mlp_med.studies.launchers.ray_cluster import joined
from mlp_med.studies.launchers.ray_supervisor import NodeFacts, inspect_node, require_alike

HERE = NodeFacts("boot 1", "code 1", True, (1, 2), "")


@pytest.mark.parametrize(
    ("difference", "message"),
    [
        ({"code_digest": "code 2"}, "same commit of mlp_med on every node"),
        ({"has_dataset": False}, "under the same path"),
        ({"boot": "boot 2"}, "start a tracking server"),  # the same file by NFS, say
        ({"ledger_file": None}, "start a tracking server"),
        ({"ledger_file": (1, 3)}, "start a tracking server"),
        ({"unreachable": "connection refused"}, "an address that every node reaches"),
        ({"shares": False}, "does not see the checkpoints.*--workers-per-cell 1"),
    ],
)
def test_a_node_that_lacks_what_it_must_share_is_refused(difference, message):
    with pytest.raises(StudyError, match=message) as raised:
        require_alike(HERE, replace(HERE, **difference), "10.0.0.2", "/data")
    assert "10.0.0.2" in str(raised.value)


def test_nodes_of_one_machine_share_a_sqlite_file_and_others_a_server():
    require_alike(HERE, HERE, "127.0.0.3", "/data")
    served = replace(HERE, ledger_file=None)
    require_alike(served, replace(served, boot="boot 2"), "10.0.0.2", "/data")


def test_what_a_node_finds(tmp_path):
    (tmp_path / "luna16").mkdir()
    (tmp_path / "mlflow.db").touch()
    found = inspect_node("luna16", str(tmp_path), str(tmp_path / "mlflow.db"), ("127.0.0.1", 9))
    assert found.has_dataset
    assert found.ledger_file is not None
    assert "refused" in found.unreachable
    found = inspect_node("dsb2017", str(tmp_path), str(tmp_path / "absent.db"), None)
    assert (found.has_dataset, found.ledger_file, found.unreachable) == (False, None, "")
    assert found.shares  # nothing has to be
    signs = (tmp_path / "mlflow.db", tmp_path / "absent")
    seen = [inspect_node("luna16", str(tmp_path), None, None, str(sign)).shares for sign in signs]
    assert seen == [True, False]


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(StudyError, match=r"pip install 'mlp-med\[ray\]'"), joined("h:1"):
        pass


def test_rays_client_protocol_is_refused_with_the_way_that_works():
    with pytest.raises(StudyError, match="on a node of the cluster"), joined("ray://h:10001"):
        pass
