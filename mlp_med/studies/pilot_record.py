"""A pilot that was committed, read back: what a study takes its learning rates from."""

import math
from pathlib import Path
from typing import Any

from mlp_med.errors import StudyError
from mlp_med.json_records import read_json_object
from mlp_med.studies.pilot import PilotResult

MEND = "make the pilot again: mlp-med study pilot … --record FILE"


def read_pilot(path: Path) -> PilotResult:
    """The pilot in a record.

    Raises:
        StudyError: the file is no such record, or a learning rate or budget in it is none.
    """
    content = read_json_object(path, StudyError, MEND)
    try:
        found = PilotResult.from_dict(content)
        _check(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StudyError(f"{path} is no record of a pilot ({error!r}); {MEND}") from error
    return found


def _check(found: PilotResult) -> None:
    for name, arm in found.arms.items():
        rates = [arm.learning_rate, *arm.grid]
        if not all(_is_positive(rate) for rate in rates) or arm.learning_rate not in arm.grid:
            raise ValueError(f"learning rates of {name}: {rates}")
        if arm.grid[arm.learning_rate] is None or not isinstance(arm.on_edge, bool):
            raise ValueError(f"what was chosen for {name}")
    budget = found.budget_examples
    if budget is not None and not (isinstance(budget, int) and _is_positive(budget)):
        raise ValueError(f"budget_examples = {budget}")
    if not isinstance(found.origin, dict):
        raise ValueError(f"origin = {found.origin}")


def _is_positive(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value < math.inf
