"""Importing this imports TensorFlow, without the notices that it writes before its log begins.

They come from C++, straight to the process's standard error, and no environment variable stops
them: "oneDNN custom operations are on", once a library and process. What else is written meanwhile
is passed on.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# INFO lines (I0000 …), what announces them, and the continuation of the one on the CPU's features.
NOTICE = re.compile(
    rb"(I\d{4} |WARNING: All log messages before absl|To enable the following inst)"
)


@contextlib.contextmanager
def without_notices() -> Iterator[None]:
    """Holds back standard error, and lets through at the end what is no notice."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, os.fdopen(os.dup(2), "wb") as stderr:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr.fileno(), 2)
            held.seek(0)
            stderr.writelines(line for line in held if not NOTICE.match(line))


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with without_notices():
    import tensorflow  # noqa: F401
