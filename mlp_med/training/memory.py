"""Peak memory of a process, by the figure that is its own."""

import contextlib
from pathlib import Path


def peak_memory_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Peak resident memory of this process in bytes (VmHWM), since its start or the last reset.

    `ru_maxrss` would not do: a child's starts at its parent's.

    Raises:
        OSError: there is no such file (not Linux).
        ValueError: the file has no VmHWM line.
    """
    for line in status.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"expected a line VmHWM in {status}, found none")


def peak_memory_bytes_of(pid: int | None) -> int | None:
    """That of another process; None where it is gone, or is ending and has no such line."""
    with contextlib.suppress(OSError, ValueError):
        return peak_memory_bytes(Path(f"/proc/{pid}/status"))
    return None


def reset_peak_memory(process: Path = Path("/proc/self")) -> bool:
    """Sets the peak back to what is in use now; False where the kernel does not allow it."""
    try:
        (process / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_gpu_memory_bytes() -> int | None:
    """TensorFlow's own peak over its GPUs, summed; None without a GPU."""
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    if not gpus:
        return None
    # "/device:GPU:0" → "GPU:0", the form that get_memory_info wants
    names = [gpu.name.rsplit("device:", 1)[-1] for gpu in gpus]
    return sum(int(tf.config.experimental.get_memory_info(name)["peak"]) for name in names)
