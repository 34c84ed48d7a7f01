"""What the processor calls itself, and the vector instructions that it has."""

import functools
import platform
from collections.abc import Mapping
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")  # where Linux describes the processor


@functools.cache
def processor_flags(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Names of the instruction sets, e.g. "avx2" or "amx_bf16"; none where they are not told."""
    return frozenset(_described(cpuinfo).get("flags", "").split())


def processor_vendor(cpuinfo: Path = CPUINFO) -> str:
    """Who made it, e.g. "GenuineIntel"; "" where that is not told."""
    return _described(cpuinfo).get("vendor_id", "")


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """The processor's name and the vector extensions that decide rounding."""
    described = _described(cpuinfo)
    if not described:
        return platform.processor() or platform.machine()
    name = described.get("model name", platform.machine())
    extensions = processor_flags(cpuinfo) & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}
    return " ".join([name, *sorted(extensions)])


def _described(cpuinfo: Path) -> Mapping[str, str]:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip(): value.strip() for name, value in fields}
