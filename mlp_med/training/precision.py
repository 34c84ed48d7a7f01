"""Which number format pays on this machine."""

from pathlib import Path
from typing import Literal

from mlp_med.processor import CPUINFO, processor_flags, processor_vendor

Precision = Literal["float32", "mixed_bfloat16"]


# Channels that a CPU computes at a time in bfloat16: a convolution of 8 takes up to twice the time
# of float32, one of 16 little more than half (benchmarks/input_time.py, AVX-512 of AMD).
CHANNELS_AT_A_TIME = 16
AMD = "AuthenticAMD"


def default_precision(narrowest_width: int, cpuinfo: Path = CPUINFO) -> Precision:
    """The faster number format for a network on this machine.

    bfloat16 on a GPU that has it, and on a CPU that multiplies it sooner than float32 for a network
    wide enough to gain by it; else float32.

    Args:
        narrowest_width: channels of the network's narrowest stage.
        cpuinfo: where Linux describes the processor.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")
        return "mixed_bfloat16" if capability and capability >= (8, 0) else "float32"
    wide_enough = narrowest_width >= CHANNELS_AT_A_TIME
    return "mixed_bfloat16" if wide_enough and cpu_gains_by_bfloat16(cpuinfo) else "float32"


def cpu_gains_by_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the CPU multiplies bfloat16 sooner than float32.

    With AMX it does. With AVX-512 alone AMD's does, and Intel's does not: in bfloat16 our step
    takes 1.2 to 1.5 times as long there, PyTorch's 1.05 to 1.3 (benchmarks/step_time.py).
    """
    flags = processor_flags(cpuinfo)
    return "amx_bf16" in flags or ("avx512_bf16" in flags and processor_vendor(cpuinfo) == AMD)


def cpu_has_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the CPU has AVX-512 or AMX instructions for bfloat16."""
    return bool({"avx512_bf16", "amx_bf16"} & processor_flags(cpuinfo))
