"""What the kernel does about processes whose parent is gone (Linux; elsewhere nothing)."""

import contextlib
import ctypes
import signal

# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(how: signal.Signals = signal.SIGKILL) -> None:
    """Has the kernel end this process when the thread that started it is gone, even by SIGKILL.

    A parent that is gone already is not noticed.
    """
    _prctl(_PR_SET_PDEATHSIG, how)


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, argument: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, argument)
