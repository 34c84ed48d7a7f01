"""How the workers of a cell on several machines hear of it: files in a directory that all see.

The chief's supervisor posts what is to be trained and goes on counting while it waits for it. The
count is how the others know that the post is of now and not of a study that was killed: it moves.
A worker answers with how its process ended, if that was not what it was for.
"""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mlp_med.studies.cell import Cell
from mlp_med.studies.cluster import Cluster
from mlp_med.studies.orders import Failed, Order


@dataclass
class Mailbox:
    """One group's directory.

    Attributes:
        directory: which every worker's machine sees.
        attempt: the newest post's name; "" before the first.
    """

    directory: Path
    attempt: str = ""
    _post: dict[str, Any] = field(default_factory=dict)

    def post(self, order: Order, code: str) -> None:
        """Tells the others to begin an order anew, and to end what they were at."""
        self.attempt = uuid.uuid4().hex
        order = replace(order, start=None)  # the chief alone tells the ledger
        self._post = {"attempt": self.attempt, "order": asdict(order), "code": code, "count": 0}
        self._write("order", self._post)

    def count(self) -> None:
        """Shows that the supervisor of the newest post is alive."""
        self._post["count"] += 1
        with contextlib.suppress(OSError):  # a disk that is full for a moment ends no training
            self._write("order", self._post)

    def rest(self) -> None:
        """Tells the others to end what they were at, and to wait."""
        self._write("order", {"attempt": uuid.uuid4().hex})

    def close(self) -> None:
        """Tells the others that nothing more will come."""
        self._write("order", {"attempt": uuid.uuid4().hex, "closed": True})

    def remove(self) -> None:
        """Takes it away, when nobody is left to read it."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def read(self) -> dict[str, Any]:
        """What is posted; nothing where nothing is, or where it is unreadable for a moment."""
        return self._read("order")

    def answer(self, attempt: str, index: int, failed: Failed) -> None:
        """Says how worker `index` of an attempt ended."""
        told = {"attempt": attempt, "kind": failed.kind, "message": failed.message}
        self._write(f"worker-{index}", told)

    def answers(self, size: int) -> list[tuple[int, Failed]]:
        """Of the newest post's workers."""
        found = [(index, self._read(f"worker-{index}")) for index in range(1, size)]
        return [
            (index, Failed(str(told["kind"]), str(told["message"])))
            for index, told in found
            if self.attempt and told.get("attempt") == self.attempt
        ]

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        unfinished = self.directory / f"{name}.{os.uname().nodename}.{os.getpid()}"
        unfinished.write_text(json.dumps(content))
        unfinished.replace(self.directory / f"{name}.json")

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.directory / f"{name}.json").read_text()))
        except (OSError, ValueError):
            return {}


def mailbox_of(root: Path, cluster: Cluster) -> Mailbox:
    """Where a cluster's processes leave word for each other, beside the cells' checkpoints."""
    return Mailbox(root / f"group-{cluster.session}")


def order_from(plain: Mapping[str, Any]) -> Order:
    """The order in a post."""
    return Order(**{**plain, "cell": Cell.from_params(plain["cell"])})
