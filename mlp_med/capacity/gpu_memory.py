"""How much of the GPUs' memory other processes have taken, as NVIDIA's driver tells it."""

import os
import subprocess
from dataclasses import dataclass

from mlp_med.capacity.amounts import show_bytes

MIB = 1024**2
WORTH_SAYING = 0.05  # of the memory: the driver and a desktop take a little
SECONDS_FOR_AN_ANSWER = 10.0


@dataclass(frozen=True)
class GpuMemory:
    """Of one GPU.

    Attributes:
        index: by which the driver counts.
        uuid: of the GPU.
        total_bytes: that it has.
        used_bytes: that are taken now.
    """

    index: int
    uuid: str
    total_bytes: int
    used_bytes: int


def gpu_memory() -> list[GpuMemory]:
    """Of the GPUs that a process started here would see; none where no driver answers."""
    query = "--query-gpu=index,uuid,memory.total,memory.used"
    try:
        answer = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS_FOR_AN_ANSWER,
        ).stdout
        gpus = [_of_line(line) for line in answer.splitlines() if line.strip()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    # CUDA takes numbers, and the beginnings of uuids.
    named = [name.strip() for name in visible.split(",") if name.strip()]
    return [
        gpu
        for gpu in gpus
        if any(name == str(gpu.index) or gpu.uuid.startswith(name) for name in named)
    ]


def taken_memory() -> list[str]:
    """A sentence for each GPU of whose memory others have taken a part."""
    return [
        f"GPU {gpu.index} has {show_bytes(gpu.used_bytes)} of its {show_bytes(gpu.total_bytes)} "
        f"taken by other processes: what needs more than the other "
        f"{show_bytes(gpu.total_bytes - gpu.used_bytes)} will fail as out_of_memory; end them, or "
        "choose another GPU with CUDA_VISIBLE_DEVICES"
        for gpu in gpu_memory()
        if gpu.used_bytes > WORTH_SAYING * gpu.total_bytes
    ]


def _of_line(line: str) -> GpuMemory:
    index, uuid, total, used = (part.strip() for part in line.split(","))
    return GpuMemory(int(index), uuid, int(total) * MIB, int(used) * MIB)
