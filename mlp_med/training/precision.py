"""Which number format pays on this machine."""

from pathlib import Path
from typing import Literal

from mlp_med.processor import CPUINFO, processor_flags

Precision = Literal["float32", "mixed_bfloat16"]


def default_precision(cpuinfo: Path = CPUINFO) -> Precision:
    """bfloat16 on a GPU that has it and on a CPU that multiplies it in hardware, else float32.

    Args:
        cpuinfo: where Linux describes the processor.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")
        return "mixed_bfloat16" if capability and capability >= (8, 0) else "float32"
    return "mixed_bfloat16" if cpu_has_bfloat16(cpuinfo) else "float32"


def cpu_has_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the CPU has AVX-512 or AMX instructions for bfloat16."""
    return bool({"avx512_bf16", "amx_bf16"} & processor_flags(cpuinfo))
