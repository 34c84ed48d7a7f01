"""What MLflow takes: tags, params, metrics and dataset inputs, within its limits."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlp_med.ledger import names
from mlp_med.ledger.store import Ledger

METRICS_PER_BATCH = 1000
LONGEST_DIGEST = 36


@dataclass(frozen=True)
class DatasetInput:
    """The dataset that a cell read, as MLflow shows it.

    Attributes:
        name: the dataset and its resolution, e.g. "luna16/1.25mm".
        digest: digest of the content; MLflow keeps its first 36 characters.
        source: where the files lie, a path or URI.
        profile: figures worth showing, such as the number of examples in each split.
    """

    name: str
    digest: str
    source: str
    profile: Mapping[str, object] = field(default_factory=dict)


def now_in_ms() -> int:
    """Milliseconds since the epoch, as MLflow counts them."""
    return int(time.time() * 1000)


def prefixed(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags under this project's prefix; the commit also where MLflow's UI has a column for it."""
    named = {names.TAG_PREFIX + name: str(value) for name, value in tags.items()}
    if tags.get("commit"):
        named[names.GIT_COMMIT] = tags["commit"]
    return named


def set_tags(ledger: Ledger, run_id: str, tags: Mapping[str, str]) -> None:
    """Sets all of them in one call."""
    from mlflow.entities import RunTag

    if not tags:
        return
    ledger.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def log_values(
    ledger: Ledger,
    run_id: str,
    *,
    metrics: Mapping[str, float],
    params: Mapping[str, object] | None = None,
    at_ms: int | None = None,
) -> None:
    """Logs params, and metrics that have no curve, in one call.

    The same values with the same `at_ms`, milliseconds since the epoch, may be logged again:
    MLflow keeps them once.
    """
    from mlflow.entities import Metric, Param

    now_ms = now_in_ms() if at_ms is None else at_ms
    ledger.client.log_batch(
        run_id,
        metrics=[Metric(name, float(value), now_ms, 0) for name, value in metrics.items()],
        params=[Param(name, str(value)) for name, value in (params or {}).items()],
    )


def log_points(
    ledger: Ledger,
    run_id: str,
    points: Sequence[tuple[str, float, int]],
    *,
    at_ms: int | None = None,
) -> None:
    """Logs metrics as (name, value, step), any number of them; `at_ms` as in `log_values`."""
    from mlflow.entities import Metric

    now_ms = now_in_ms() if at_ms is None else at_ms
    for start in range(0, len(points), METRICS_PER_BATCH):
        batch = points[start : start + METRICS_PER_BATCH]
        metrics = [Metric(name, value, now_ms, step) for name, value, step in batch]
        ledger.client.log_batch(run_id, metrics=metrics)


def log_dataset(ledger: Ledger, run_id: str, dataset: DatasetInput) -> None:
    """Logs what the run reads as an MLflow input."""
    from mlflow import entities

    described = entities.Dataset(
        name=dataset.name,
        digest=dataset.digest[:LONGEST_DIGEST],
        source_type="local",
        source=json.dumps({"uri": dataset.source}),
        profile=json.dumps(dict(dataset.profile)),
    )
    context = entities.InputTag(names.DATASET_CONTEXT, "training")
    ledger.client.log_inputs(run_id, [entities.DatasetInput(described, [context])])


def log_file(ledger: Ledger, run_id: str, name: str, content: bytes) -> None:
    """Keeps `content` as an artifact of the run."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        path.write_bytes(content)
        ledger.client.log_artifact(run_id, str(path))
