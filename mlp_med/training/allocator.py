"""Keeps freed memory in the process between training steps."""

import contextlib
import ctypes

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
LARGEST_MMAP_THRESHOLD = 32 * 1024**2  # what the GNU C library accepts


def keep_freed_memory() -> bool:
    """Tells the C library to keep what is freed, since the next step asks for the same again.

    TensorFlow lowers the trim threshold to 128 kB when a distributed iterator is made ("Memory
    patch applied"); every step then gives its activations back to the kernel and faults them in
    again, which costs up to half of its time on a CPU.

    Returns:
        False where the C library is not GNU's.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        return bool(
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
            and mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        )
    return False
