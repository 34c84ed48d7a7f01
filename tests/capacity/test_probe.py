import re

import pytest

from mlp_med.capacity.memory import predict_memory
from mlp_med.capacity.probe import probe, small_workload
from mlp_med.capacity.workload import Workload
from mlp_med.errors import CapacityError


def test_what_was_predicted_is_what_a_training_process_takes(make_workload):
    workload = make_workload(model="residual", voxels=(64, 64, 64), batch_size=8)
    found = probe(workload, num_steps=2)
    assert found.base_bytes > 300e6
    assert found.step_seconds > 0
    predicted = predict_memory(workload).above_base
    # The benchmark says how near; between runs the heap varies.
    assert found.above_base_bytes == pytest.approx(predicted, rel=0.15)


def test_a_small_workload_keeps_model_and_precision(make_workload):
    workload = make_workload(voxels=(64, 64, 64), batch_size=64, precision="mixed_bfloat16")
    small = small_workload(workload)
    assert small.num_voxels < workload.num_voxels
    assert (small.model, small.precision) == (workload.model, workload.precision)


def test_a_field_of_unequal_edges_is_probed_too(make_workload):
    found = probe(make_workload(voxels=(45, 32)), num_steps=1)
    assert found.peak_bytes > found.base_bytes


def test_a_probe_that_dies_says_of_what(make_workload, monkeypatch):
    monkeypatch.setattr(Workload, "to_dict", lambda self: {**vars(self), "model": "unet"})
    with pytest.raises(CapacityError, match=r"48×32 × 4 died: .*expected a model out of"):
        probe(make_workload(voxels=(48, 32)))


def test_a_probe_that_is_killed_says_what_it_took_and_what_was_predicted(
    make_workload, tmp_path, monkeypatch
):
    killer = "import os, signal, time; held = b'1' * 300_000_000; time.sleep(0.5)\n"
    (tmp_path / "killed_for_memory.py").write_text(
        f"{killer}os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CapacityError, match=r"died: ended by SIGKILL; its peak memory") as found:
        probe(make_workload(voxels=(48, 32)), preload=["killed_for_memory"])
    took, predicted = re.findall(r"([0-9.]+) MB", str(found.value))
    assert 300 < float(took) < 3_000
    assert float(predicted) > 100
