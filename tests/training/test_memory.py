import numpy as np
import pytest

from mlp_med.training.memory import peak_gpu_memory_bytes, peak_memory_bytes, reset_peak_memory

MEBIBYTE = 2**20


def test_the_peak_remembers_memory_that_was_given_back():
    before = peak_memory_bytes()
    np.ones(128 * MEBIBYTE, np.uint8)
    assert peak_memory_bytes() >= before
    if reset_peak_memory():
        base = peak_memory_bytes()
        np.ones(128 * MEBIBYTE, np.uint8)
        assert 100 * MEBIBYTE < peak_memory_bytes() - base < 160 * MEBIBYTE


def test_the_figure_is_in_bytes(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  999 kB\nVmHWM:\t  12 kB\nVmRSS:\t 7 kB\n")
    assert peak_memory_bytes(status) == 12 * 1024


def test_a_status_without_the_figure_says_so(tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\n")
    with pytest.raises(ValueError, match="VmHWM"):
        peak_memory_bytes(tmp_path / "status")


def test_a_kernel_that_cannot_reset_is_no_error(tmp_path):
    assert reset_peak_memory(tmp_path / "absent") is False


def test_without_a_gpu_there_is_no_gpu_figure(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [])
    assert peak_gpu_memory_bytes() is None
