import psutil
import pytest

from mlp_med.capacity import this_machine
from mlp_med.capacity.platforms import catalogue
from mlp_med.capacity.this_machine import Speeds, as_platform, as_toml, memory_bytes, processor

SPEEDS = Speeds(
    copy_bytes_per_s=20e9,
    flops={"float32": 3e11, "mixed_bfloat16": 6e11},
    disk_bytes_per_s=1.5e9,
    threads=2,
)
GIB = 2**30


def tree(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/job/cell\n", {"job/memory.max": f"{2 * GIB}\n", "job/cell/memory.max": "max\n"}, 2),
        ("0::/job\n", {"job/memory.max": "max\n", "memory.max": f"{GIB}\n"}, 1),
        (
            "3:cpu,cpuacct:/x\n5:memory:/job\n",
            {"memory/job/memory.limit_in_bytes": f"{3 * GIB}\n"},
            3,
        ),
    ],
)
def test_a_cgroups_limit_counts_where_it_is_less(tmp_path, cgroup, files, expected):
    process = tree(tmp_path / "proc", {"cgroup": cgroup})
    assert memory_bytes(tree(tmp_path / "cg", files), process) == expected * GIB


@pytest.mark.parametrize("limit", ["max\n", "9223372036854771712\n", "nonsense\n"])
def test_without_a_limit_it_is_the_machines_memory(tmp_path, limit):
    root = tree(tmp_path / "cg", {"memory.max": limit})
    assert memory_bytes(root, tmp_path / "absent") == psutil.virtual_memory().total


def test_what_was_measured_is_read_back_as_it_was(tmp_path):
    here = as_platform(SPEEDS, 16 * GIB)
    (tmp_path / "here.toml").write_text(as_toml(here))
    found = catalogue(tmp_path / "here.toml")[here.name]
    assert found.measured
    for name in ("title", "kind", "memory_bytes", "bandwidth", "peak_flops", "link"):
        assert getattr(found, name) == getattr(here, name)


def test_the_measurements_are_speeds(tmp_path, monkeypatch):
    monkeypatch.setattr(this_machine, "COPIED_BYTES", 8 * 1024**2)
    monkeypatch.setattr(this_machine, "MATRIX_EDGE", 256)
    monkeypatch.setattr(this_machine, "FILE_BYTES", 4 * 1024**2)
    monkeypatch.setattr("mlp_med.training.threads.configure_threads", lambda threads: None)
    found = this_machine.measure_speeds(tmp_path, threads=1)
    assert 1e8 < found.copy_bytes_per_s < 1e13
    assert 1e8 < found.flops["float32"] < 1e14
    assert found.disk_bytes_per_s is None or found.disk_bytes_per_s > 1e6
    assert not list(tmp_path.iterdir())


def test_the_processor_has_a_name(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name : Quick CPU\n")
    assert processor(tmp_path / "cpuinfo").startswith("Quick CPU, ")
    assert " core" in processor(tmp_path / "absent")
