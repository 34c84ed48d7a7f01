"""The cores that this process may keep busy, as its affinity and its cgroups allow, and where."""

import os
from pathlib import Path


def available_cores(
    cgroup_root: Path = Path("/sys/fs/cgroup"), process: Path = Path("/proc/self")
) -> int:
    """Cores this process may keep busy: its CPU affinity, or its cgroup's quota if that is less.

    Reads cgroup version 2 (`cpu.max`) and version 1 (`cpu.cfs_quota_us`), in the process's own
    group and in every group above it, of which the tightest counts.

    Args:
        cgroup_root: where the cgroup file systems are mounted.
        process: the process's folder in /proc.
    """
    try:
        cores = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # not Linux
        cores = float(os.cpu_count() or 1)
    quotas = [
        quota for folder in _cgroup_folders(cgroup_root, process) if (quota := _quota(folder))
    ]
    return max(1, int(min([cores, *quotas])))


def memory_nodes(root: Path = Path("/sys/devices/system/node")) -> list[frozenset[int]]:
    """The cores that this process may use, by the memory (NUMA node) that they are next to.

    Args:
        root: where Linux describes the nodes.

    Returns:
        One set of core numbers a node that has any; a single one where nodes are not told.
    """
    try:
        allowed = frozenset(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        allowed = frozenset(range(os.cpu_count() or 1))
    nodes = []
    for path in sorted(root.glob("node[0-9]*/cpulist")):
        try:
            nodes.append(_numbers(path.read_text()) & allowed)
        except (OSError, ValueError):
            continue
    return [cores for cores in nodes if cores] or [allowed]


def _numbers(text: str) -> frozenset[int]:
    """Reads "0-3,8" as 0, 1, 2, 3 and 8."""
    numbers: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def _cgroup_folders(root: Path, process: Path) -> list[Path]:
    folders: set[Path] = {root, root / "cpu", root / "cpu,cpuacct"}
    try:
        lines = (process / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        bases = [root] if not controllers else [root / controllers, root / "cpu"]
        group = Path(path.lstrip("/"))
        folders.update(base / part for base in bases for part in (group, *group.parents))
    return sorted(folders)


def _quota(folder: Path) -> float | None:
    """Cores allowed by the group, None where it sets no limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
            return None if quota == "max" else float(quota) / float(period)
        quota = (folder / "cpu.cfs_quota_us").read_text()
        period = (folder / "cpu.cfs_period_us").read_text()
    except (OSError, ValueError):
        return None
    return None if int(quota) <= 0 else int(quota) / int(period)
