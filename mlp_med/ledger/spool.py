"""What the ledger could not be told yet, kept on disk: a file for each cell that has ended.

A file is a Parquet table, the cell's predictions, with all else as JSON in its schema's metadata;
nothing is pickled. It is written under another name and moved to its place when it is whole, so
that a file that exists is a whole result, and it is removed when the ledger has all of it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlp_med.errors import LedgerError
from mlp_med.ledger.entries import DatasetInput, now_in_ms
from mlp_med.ledger.read import Failure

DIRECTORY = "spool"
SUFFIX = ".parquet"
UNFINISHED = ".unfinished"
METADATA_KEY = b"mlp_med"
FORMAT = 1


@dataclass(frozen=True)
class CellStart:
    """What the ledger is told of a cell that starts: see `write.start_cell`.

    Attributes:
        study_run_id: run id of the study.
        params: every field of the cell.
        cell_hash: the cell's hash.
        arm: the arm's name.
        tags: names without prefix.
        dataset: what the cell reads.
        key: names this start; its run carries it, so that it is found and not made twice.
        at_ms: when, in milliseconds since the epoch.
    """

    study_run_id: str
    params: Mapping[str, str | int | float | bool]
    cell_hash: str
    arm: str
    tags: Mapping[str, str]
    dataset: DatasetInput
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    at_ms: int = field(default_factory=now_in_ms)


@dataclass(frozen=True)
class CellEnd:
    """All that the ledger has to be told of a cell that has ended.

    Attributes:
        start: of the cell.
        run_id: its run; the start's key where the ledger did not answer when the cell began.
        metrics: what was measured.
        points: of its curves: (metric, value, examples seen).
        predictions: of a cell that is done; None of one that failed.
        failure: why it failed; None of one that is done.
        tags: names without prefix, of one that is done.
        at_ms: when it ended, in milliseconds since the epoch.
    """

    start: CellStart
    run_id: str
    metrics: Mapping[str, float]
    points: Sequence[tuple[str, float, int]] = ()
    predictions: pd.DataFrame | None = None
    failure: Failure | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    at_ms: int = field(default_factory=now_in_ms)


class Spool:
    """The directory of what is still to be told, `spool/` in TFDS's data directory.

    There, since every process of a cell knows that directory, may write to it, and finds it again
    when the same study is run again.
    """

    def __init__(self, data_dir: str | Path):
        self.directory = Path(data_dir) / DIRECTORY

    def keep(self, end: CellEnd) -> Path:
        """Writes the whole of it, or nothing.

        Raises:
            OSError: the disk is full, or may not be written to.
        """
        table = pa.Table.from_pandas(
            pd.DataFrame() if end.predictions is None else end.predictions, preserve_index=False
        )
        metadata = {**(table.schema.metadata or {}), METADATA_KEY: _to_json(end).encode()}
        path = self.path_of(end.start)
        unfinished = path.with_suffix(UNFINISHED)
        self.directory.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until it has its name, it is not a leftover
            try:
                pq.write_table(table.replace_schema_metadata(metadata), file)
                file.flush()
                os.fsync(file.fileno())
                unfinished.replace(path)
            except OSError:
                unfinished.unlink(missing_ok=True)
                raise
        return path

    def path_of(self, start: CellStart) -> Path:
        """Where the end of the cell with this start is kept."""
        return self.directory / f"{start.key}{SUFFIX}"

    def paths(self) -> list[Path]:
        """Every file, the oldest first."""
        found = []
        for path in self.directory.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # delivered by another process just now
                found.append((path.stat().st_mtime, path))
        return [path for _, path in sorted(found)]

    @contextlib.contextmanager
    def claimed(self, path: Path) -> Iterator[CellEnd | None]:
        """Reads a file, which no other process then delivers; None where another one has it.

        Raises:
            LedgerError: the file is not what was written.
        """
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("r+b"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield None
                return
            yield _read(path, file) if path.exists() else None

    def remove_leftovers(self) -> None:
        """Removes what processes that were killed had begun to write."""
        for path in self.directory.glob(f"*{UNFINISHED}"):
            with contextlib.suppress(OSError), path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def _to_json(end: CellEnd) -> str:
    content = {
        "format": FORMAT,
        "start": asdict(end.start),
        "run_id": end.run_id,
        "metrics": dict(end.metrics),
        "points": [list(point) for point in end.points],
        "tags": dict(end.tags),
        "failure": end.failure and asdict(end.failure),
        "at_ms": end.at_ms,
        "has_predictions": end.predictions is not None,
    }
    if end.predictions is not None:
        content["predictions_digest"] = _digest(end.predictions)
    return json.dumps(content)


def _read(path: Path, file: IO[bytes]) -> CellEnd:
    try:
        table = pq.read_table(file)
        content = json.loads(table.schema.metadata[METADATA_KEY])
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']} instead of {FORMAT}")
        predictions = table.to_pandas() if content["has_predictions"] else None
        if predictions is not None and _digest(predictions) != content["predictions_digest"]:
            raise ValueError("its predictions are not those that were written")
        about = content["start"]
        start = CellStart(**{**about, "dataset": DatasetInput(**about["dataset"])})
        return CellEnd(
            start=start,
            run_id=content["run_id"],
            metrics=content["metrics"],
            points=[(name, value, step) for name, value, step in content["points"]],
            predictions=predictions,
            tags=content["tags"],
            failure=content["failure"] and Failure(**content["failure"]),
            at_ms=content["at_ms"],
        )
    except (ValueError, KeyError, TypeError, OSError, pa.ArrowException) as error:
        raise LedgerError(
            f"expected a cell's result in {path}, got a broken file ({error}); move it away: its "
            "cell is trained again"
        ) from error


def _digest(predictions: pd.DataFrame) -> str:
    """SHA-256 over the columns' names, types and values."""
    digest = hashlib.sha256()
    for name in predictions.columns:
        values = predictions[name].to_numpy()
        digest.update(f"{name} {values.dtype} {len(values)}\n".encode())
        plain = json.dumps(values.tolist()).encode() if values.dtype == object else values.tobytes()
        digest.update(plain)
    return digest.hexdigest()
