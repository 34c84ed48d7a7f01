"""Once this is imported TensorFlow is imported sooner, and without the notices before its log.

Whoever imports it, and whenever: what needs no TensorFlow need not wait for it. The notices come
from C++, straight to the process's standard error, and no environment variable stops them: "oneDNN
custom operations are on", once a library and process. What else is written meanwhile is passed on.

Keras, which TensorFlow imports, draws pictures of models and wraps them for scikit-learn where what
that takes is installed. Nothing here asks it to, and to import that takes a quarter of the time. So
both look as if they were not installed while it loads, to every thread, and to Keras ever after.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

# INFO lines (I0000 …), what announces them, and the continuation of the one on the CPU's features.
NOTICE = re.compile(
    rb"(I\d{4} |WARNING: All log messages before absl|To enable the following inst)"
)


LOADED_QUIETLY = ("tensorflow", "keras")  # each imports the other
NOT_ASKED_FOR = ("matplotlib", "sklearn")


@contextlib.contextmanager
def without_modules(names: Iterable[str]) -> Iterator[None]:
    """To imports meanwhile these modules are not installed, unless they were imported before."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: ImportError
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)


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
    """Finds TensorFlow and Keras where Python does, and has them load quietly, without more."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder` has it; None for every other module."""
        spec = PathFinder.find_spec(name, path, target) if name in LOADED_QUIETLY else None
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_quietly(module: ModuleType) -> None:
                with without_notices(), without_modules(NOT_ASKED_FOR):
                    load(module)

            spec.loader.exec_module = load_quietly  # type: ignore[method-assign]
        return spec


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.meta_path.insert(0, QuietFinder)
