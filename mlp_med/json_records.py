"""Records kept as JSON: read whole, or refused in one way, whatever is in the file."""

import json
from pathlib import Path
from typing import Any

from mlp_med.errors import MlpMedError


def read_json_object(path: Path, error: type[MlpMedError], mend: str) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path: the file.
        error: raised where it holds none.
        mend: what to do then, e.g. "run: make controls".

    Raises:
        MlpMedError: of the kind `error`: the file cannot be read, is no JSON in UTF-8, is nested
            too deeply to be anything of ours, or holds something else than an object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise error(f"{path}: cannot be read as JSON ({problem}); {mend}") from problem
    if not isinstance(found, dict):
        raise error(f"{path}: expected a JSON object, found {type(found).__name__}; {mend}")
    return found
