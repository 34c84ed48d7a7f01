"""Checkpoints of a training run: what it takes to go on as if nothing had happened.

The order of the data is a function of the seed and of the examples seen, nothing is drawn while
training, and a checkpoint is taken between two calls into the graph. So a run that was interrupted
ends with the bits of one that was not, on the same machine.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import keras
import numpy as np
import tensorflow as tf

from mlp_med.errors import TrainingError
from mlp_med.training.array_file import read_arrays, write_arrays
from mlp_med.training.history import History


class Carried(Protocol):
    """Something beside the training that must be told what it knew at the checkpoint."""

    def to_plain(self) -> dict[str, Any]:
        """What it knows, as plain values for JSON."""

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Makes it know just that."""


@dataclass
class TrainingState:
    """All that the rest of a training run depends on, beside its data.

    Attributes:
        model: its weights, with the running statistics of its normalisations.
        optimizer: moments and step.
        history: so far.
        best_weights: those that validated best; empty before the first evaluation.
    """

    model: keras.Model
    optimizer: Sequence[tf.Variable]
    history: History = field(default_factory=History)
    best_weights: list[np.ndarray] = field(default_factory=list)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Every number but the history's, by a name of its own."""
        groups = {
            "weights": self.model.get_weights(),
            "optimizer": [variable.numpy() for variable in self.optimizer],
            "best": self.best_weights,
        }
        return {
            f"{group}/{number}": np.asarray(array)
            for group, arrays in groups.items()
            for number, array in enumerate(arrays)
        }

    def assign(self, arrays: Mapping[str, np.ndarray], history: History) -> None:
        """Puts everything back."""
        self.model.set_weights(_group(arrays, "weights"))
        for variable, value in zip(self.optimizer, _group(arrays, "optimizer"), strict=True):
            variable.assign(value)
        self.best_weights = _group(arrays, "best")
        self.history = history


class Checkpoints:
    """Keeps the last checkpoint of one training run, and begins from the one that it finds.

    A checkpoint that is damaged, or of another run, is refused: `refusal` says why, and the run
    starts anew. One that cannot be written is done without: `failure` says why.

    Args:
        path: of the file; None for no checkpoints.
        identity: what a checkpoint must agree with, name by name, to be this run's.
        every_seconds: the least time between two checkpoints, and before the first.
        writes: False for all workers of a group but the chief.
    """

    def __init__(
        self,
        path: Path | None,
        identity: Mapping[str, str],
        *,
        every_seconds: float,
        writes: bool = True,
    ):
        self.path = path
        self._identity = dict(identity)
        self._every_seconds = every_seconds
        self._writes = writes
        self._carried: Carried | None = None
        self.refusal = ""
        self.failure = ""
        self.num_written = 0
        self.num_failed = 0
        self.seconds_writing = 0.0
        self._arrays: dict[str, np.ndarray] = {}
        self._found = self._read()
        self._last = time.monotonic()

    @property
    def examples_seen(self) -> int:
        """Where the run goes on: 0 where there is no checkpoint."""
        return int(self._found["history"]["examples_seen"]) if self._found else 0

    @property
    def seconds_before(self) -> float:
        """What the processes before this one spent on what is kept of them."""
        history = self._found.get("history", {})
        parts = ("seconds_tracing", "seconds_training", "seconds_evaluation")
        return float(sum(history.get(part, 0.0) for part in parts))

    def carry(self, carried: Carried) -> None:
        """Keeps what `carried` knows too; to be said before the run is restored."""
        self._carried = carried

    def restore(self, state: TrainingState) -> None:
        """Puts the run where the checkpoint was taken; once, and only where there is one."""
        if not self._found:
            return
        state.assign(self._arrays, History.from_plain(self._found["history"]))
        if self._carried is not None:
            self._carried.restore(self._found["carried"])
        self._arrays = {}  # a copy of the weights that nobody needs any more

    def save_if_due(self, state: TrainingState) -> None:
        """Writes a checkpoint if the last one is old enough; must be called between two steps."""
        began = time.monotonic()
        if self.path is None or not self._writes or began - self._last < self._every_seconds:
            return
        about = {
            "identity": self._identity,
            "history": state.history.to_plain(),
            "carried": self._carried.to_plain() if self._carried is not None else None,
        }
        text = np.frombuffer(json.dumps(about).encode(), np.uint8)
        try:
            write_arrays(self.path, {"about": text, **state.to_arrays()})
            self.num_written += 1
        except OSError as error:
            self.num_failed += 1
            self.failure = f"at {state.history.examples_seen} examples: {error}"
        self._last = time.monotonic()
        self.seconds_writing += self._last - began

    def figures(self) -> dict[str, float]:
        """What was spent on checkpoints, by the ledger's names; nothing where none was tried."""
        if not self.num_written and not self.failure:
            return {}
        return {
            "checkpoints_written": float(self.num_written),
            "checkpoints_failed": float(self.num_failed),
            "seconds_checkpoints": self.seconds_writing,
        }

    def words(self) -> dict[str, str]:
        """What happened to them, by the ledger's names; nothing where all went well from 0."""
        told = {
            "resumed_at_examples": str(self.examples_seen) if self._found else "",
            "checkpoint_refused": self.refusal,
            "checkpoint_failed": self.failure,
        }
        return {name: text for name, text in told.items() if text}

    def _read(self) -> dict[str, Any]:
        """What the file says of itself, or nothing."""
        if self.path is None:
            return {}
        try:
            arrays = read_arrays(self.path)
            about: dict[str, Any] = json.loads(arrays.pop("about").tobytes())
            there = dict(about["identity"])
        except FileNotFoundError:
            return {}
        except (TrainingError, OSError) as error:
            self.refusal = str(error)
            return {}
        except (ValueError, KeyError, TypeError, BadZipFile):
            self.refusal = f"{self.path} is no checkpoint of this version of mlp_med"
            return {}
        if there != self._identity:
            self.refusal = f"{self.path} is of another run: {_differences(there, self._identity)}"
            return {}
        self._arrays = arrays
        return about


def _differences(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    names = [name for name in sorted({*there, *here}) if there.get(name) != here.get(name)]
    return "; ".join(
        f"{name} {there.get(name, 'unknown')} there, {here.get(name, 'unknown')} here"
        for name in names
    )


def _group(arrays: Mapping[str, np.ndarray], group: str) -> list[np.ndarray]:
    number = sum(name.startswith(f"{group}/") for name in arrays)
    return [arrays[f"{group}/{index}"] for index in range(number)]
