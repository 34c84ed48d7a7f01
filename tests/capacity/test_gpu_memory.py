"""With a driver's command that says what a real one of two H100 would; no GPU is here."""

import pytest

from mlp_med.capacity.gpu_memory import gpu_memory, taken_memory

ANSWER = """0, GPU-5d0f6a11-aaaa, 81559, 61000
1, GPU-77c3b0de-bbbb, 81559, 4
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Puts a `nvidia-smi` first on the path that prints `answer` and ends with `code`."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def answers(answer, code=0):
        command = tmp_path / "nvidia-smi"
        command.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}END\nexit {code}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return answers


def test_what_others_have_taken_is_told_with_what_is_left(driver):
    driver(ANSWER)
    assert [gpu.total_bytes for gpu in gpu_memory()] == [81559 * 2**20] * 2
    (told,) = taken_memory()
    assert told.startswith("GPU 0 has 64.0 GB of its 85.5 GB taken by other processes")
    assert "the other 21.6 GB" in told


@pytest.mark.parametrize(
    ("visible", "indices"),
    [("1", [1]), ("0,1", [0, 1]), ("GPU-77c3", [1]), ("", []), ("-1", []), ("7", [])],
)
def test_gpus_that_a_cell_would_not_see_do_not_count(driver, monkeypatch, visible, indices):
    driver(ANSWER)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.index for gpu in gpu_memory()] == indices


@pytest.mark.parametrize(
    ("answer", "code"), [("", 9), ("No devices were found\n", 0), ("0, a, [N/A], 3\n", 0)]
)
def test_a_driver_that_does_not_answer_is_none(driver, answer, code):
    driver(answer, code)
    assert gpu_memory() == []


def test_without_a_driver_there_is_nothing_to_tell(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert taken_memory() == []
