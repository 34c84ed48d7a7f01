"""What stands in the way of a build, told all at once."""

from collections.abc import Sequence
from pathlib import Path

from mlp_med.errors import SourceError

MAX_PROBLEMS_SHOWN = 10


def require_none(root: Path, problems: Sequence[str]) -> None:
    """Raises SourceError if there are problems, and tells them."""
    if problems:
        shown = problems[:MAX_PROBLEMS_SHOWN]
        more = len(problems) - len(shown)
        raise SourceError(
            f"{root}: no dataset can be built:\n"
            + "\n".join(f"- {problem}" for problem in shown)
            + (f"\n- and {more} more" if more else "")
        )
