"""The machine that this runs on: its memory as its cgroups allow, and its speed by measurement."""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from mlp_med.capacity.platforms import Platform

NAME = "this-machine"
# The sizes are far beyond any cache; a few repeats, the best counts, as STREAM does.
COPIED_BYTES = 512 * 1024**2
MATRIX_EDGE = 2048
FILE_BYTES = 256 * 1024**2
REPEATS = 5


@dataclass(frozen=True)
class Speeds:
    """What was measured here.

    Attributes:
        copy_bytes_per_s: read and written, copying an array from one place in memory to another.
        flops: multiply-adds of a matrix product a second, each counted as two, by precision.
        disk_bytes_per_s: of a sequential read that no cache holds; None where that cannot be had.
        threads: that TensorFlow computed with.
    """

    copy_bytes_per_s: float
    flops: dict[str, float]
    disk_bytes_per_s: float | None
    threads: int


def memory_bytes(
    cgroup_root: Path = Path("/sys/fs/cgroup"), process: Path = Path("/proc/self")
) -> int:
    """Memory that this process may use: the machine's, or its cgroup's limit if that is less.

    Reads cgroup version 2 (`memory.max`) and version 1 (`memory.limit_in_bytes`), in the process's
    own group and in every group above it; where there are none, the machine's memory counts.
    """
    limits = [int(psutil.virtual_memory().total)]
    for folder in _groups(cgroup_root, process):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                limits.append(int((folder / name).read_text()))
            except (OSError, ValueError):  # no such group, or "max"
                continue
    return min(limits)


def _groups(root: Path, process: Path) -> list[Path]:
    folders = {root, root / "memory"}
    try:
        lines = (process / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, group = root / controllers, Path(path.lstrip("/"))
        folders.update(base / part for part in (group, *group.parents))
    return sorted(folders)


def measure_speeds(folder: Path, threads: int) -> Speeds:
    """Measures, in about ten seconds; the machine should be quiet.

    Args:
        folder: on the disk that the crops lie on.
        threads: of TensorFlow; takes effect only before its first operation.
    """
    from mlp_med.training.precision import cpu_has_bfloat16
    from mlp_med.training.threads import configure_threads

    configure_threads(threads)
    precisions = ["float32", *(["mixed_bfloat16"] if cpu_has_bfloat16() else [])]
    return Speeds(
        copy_bytes_per_s=_copy_speed(),
        flops={name: _product_speed(name.removeprefix("mixed_")) for name in precisions},
        disk_bytes_per_s=_disk_speed(folder),
        threads=threads,
    )


def as_platform(speeds: Speeds, memory: int) -> Platform:
    """This machine as the catalogue would have it."""
    measured = f"measured by mlp-med platforms --measure, {speeds.threads} threads"
    return Platform(
        name=NAME,
        title=f"this machine: {processor()}",
        kind="cpu",
        memory_bytes=memory,
        bandwidth=speeds.copy_bytes_per_s,
        peak_flops=dict(speeds.flops),
        link=speeds.disk_bytes_per_s,
        measured=True,
        sources=dict.fromkeys(("memory", "bandwidth", "peak", "link"), measured),
    )


def as_toml(found: Platform) -> str:
    """An entry of the catalogue, for a file of the user's own."""

    def entry(key: str, value: float | str, source: str) -> str:
        shown = f'"{value}"' if isinstance(value, str) else f"{value:.6g}"
        return f'{key} = {{ value = {shown}, source = "{source}" }}'

    source = next(iter(found.sources.values()))
    lines = [
        f"[{found.name}]",
        f'title = "{found.title}"',
        f'kind = "{found.kind}"',
        "measured = true",
        entry("memory", f"{found.memory_bytes}B", source),
    ]
    if found.bandwidth:
        lines.append(entry("bandwidth_gb_s", found.bandwidth / 1e9, source))
    for precision, peak in found.peak_flops.items():
        lines.append(entry(f"{precision.removeprefix('mixed_')}_tflops", peak / 1e12, source))
    if found.link:
        lines.append(entry("link_gb_s", found.link / 1e9, source))
    return "\n".join(lines) + "\n"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, and how many of its cores this process has."""
    from mlp_med.cores import available_cores

    name = platform.processor() or platform.machine()
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    found = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), name)
    cores = available_cores()
    return f"{found}, {cores} core{'s' if cores > 1 else ''}"


def _best(action: Callable[[], object]) -> float:
    """Seconds of the quickest of a few repeats, after one that does not count."""
    action()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _copy_speed() -> float:
    """As STREAM's copy (McCalpin 1995), with TensorFlow's threads."""
    import tensorflow as tf

    source = tf.Variable(tf.ones(COPIED_BYTES // 4))

    @tf.function(autograph=False)
    def scaled() -> tf.Tensor:
        # One read and one write a number; a bare copy would not be executed at all.
        return source * 3.0

    return 2 * COPIED_BYTES / _best(scaled)


def _product_speed(dtype: str) -> float:
    import tensorflow as tf

    left = tf.cast(tf.random.stateless_normal((MATRIX_EDGE, MATRIX_EDGE), seed=(0, 1)), dtype)

    @tf.function(autograph=False)
    def product() -> tf.Tensor:
        return tf.reduce_sum(tf.matmul(left, left))

    return 2 * MATRIX_EDGE**3 / _best(lambda: product().numpy())


def _disk_speed(folder: Path) -> float | None:
    """Of a file just written, after the kernel was told to forget it."""
    if not hasattr(os, "posix_fadvise"):
        return None
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        block = os.urandom(1024**2)
        for _ in range(FILE_BYTES // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        began = time.perf_counter()
        with Path(file.name).open("rb", buffering=0) as reader:
            while reader.read(8 * 1024**2):
                pass
        return FILE_BYTES / (time.perf_counter() - began)
