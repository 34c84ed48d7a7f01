"""Once this is imported TensorFlow is imported without the notices of before its log begins.

Whoever imports it, and whenever: what needs no TensorFlow need not wait for it. The notices come
from C++, straight to the process's standard error, and no environment variable stops them: "oneDNN
custom operations are on", once a library and process. What else is written meanwhile is passed on.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

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


class QuietFinder:
    """Finds TensorFlow where Python does, and holds its notices back while it is loaded."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder` has it; None for every other module."""
        spec = PathFinder.find_spec(name, path, target) if name == "tensorflow" else None
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_quietly(module: ModuleType) -> None:
                with without_notices():
                    load(module)

            spec.loader.exec_module = load_quietly  # type: ignore[method-assign]
        return spec


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.meta_path.insert(0, QuietFinder)
