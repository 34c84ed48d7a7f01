import json

import pytest
import tensorflow as tf

from mlp_med.errors import TrainingError
from mlp_med.training.strategy import make_strategy


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    listed = tf.config.list_logical_devices
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind=None: [] if kind == "GPU" else listed(kind)
    )


def test_one_replica_needs_no_mirror():
    for strategy in (make_strategy(), make_strategy(1)):
        assert isinstance(strategy, tf.distribute.OneDeviceStrategy)
        assert strategy.num_replicas_in_sync == 1


def test_replicas_that_have_no_device_are_an_error():
    tf.constant(1) + 1  # TensorFlow has begun: its devices can no longer be divided
    with pytest.raises(TrainingError) as error:
        make_strategy(64)
    assert error.value.kind == "no_device"


def test_no_replica_is_an_error():
    with pytest.raises(TrainingError, match="at least 1 replica, got 0"):
        make_strategy(0)


def test_a_cluster_of_workers_makes_a_multi_worker_strategy(monkeypatch):
    cluster = {"worker": ["localhost:1", "localhost:2"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster}))
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda: "multi-worker")
    assert make_strategy() == "multi-worker"


def test_a_cluster_of_one_is_one_device(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["localhost:1"]}}))
    assert isinstance(make_strategy(), tf.distribute.OneDeviceStrategy)
