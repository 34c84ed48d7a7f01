"""Reruns cells at another commit, in the environment of its lock, and tells what came out."""

import json
import math
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mlp_med.ledger.read import LATER_PARAMS, CellRecord, load_predictions
from mlp_med.ledger.store import Ledger
from mlp_med.studies import rerun_there
from mlp_med.studies.commit_environment import CommitEnvironment, clean_environment
from mlp_med.studies.comparison import compare_predictions, label_of

# The largest difference of a score, a probability, that is put down to rounding: the gradients of
# one step agree to about that between ways of computing them.
TOLERANCE = 1e-5
NOT_RECORDED = "not recorded"

Result = Literal["same bits", "same within tolerance", "different", "failed", "cannot run there"]
Change = tuple[str, str, str]  # what, then, there


@dataclass(frozen=True)
class Reproduction:
    """One cell, rerun.

    Attributes:
        run_id: of its run in the ledger.
        label: its arm and seed.
        trained_at: the commit that the run was trained at.
        result: what came out.
        largest_difference: of a score; NaN where there is none.
        auc_before: test AUC of the run.
        auc_again: test AUC of the rerun; NaN where there is none.
        changes: what differs from then: of the code, the versions, the data, the machine.
        reason: why there are no predictions; "" where there are.
    """

    run_id: str
    label: str
    trained_at: str
    result: Result
    largest_difference: float = math.nan
    auc_before: float = math.nan
    auc_again: float = math.nan
    changes: Mapping[str, Sequence[Change]] = field(default_factory=dict)
    reason: str = ""

    def __str__(self) -> str:
        lines = [f"{self.label}: {self.result}"]
        if self.reason:
            lines[0] += f": {self.reason}"
        elif self.result != "same bits":
            if math.isfinite(self.largest_difference):
                lines[0] += f", scores differ by up to {self.largest_difference:.3g}"
            else:
                lines[0] += ", the rerun scored other test cases"
            lines[0] += f", test AUC {self.auc_before:.6f} then, {self.auc_again:.6f} there"
        for room, changes in self.changes.items():
            lines += [
                f"  {room}: {name} {then} then, {there} there" for name, then, there in changes
            ]
        if self.result == "different" and not self.changes:
            lines.append("  nothing that is recorded has changed: code, versions, data, machine")
        return "\n".join(lines)


def reproduce(
    ledger: Ledger,
    records: Sequence[CellRecord],
    environment: CommitEnvironment,
    *,
    machine: Mapping[str, str],
    data_dir: Path | None = None,
    num_concurrent: int = 1,
    tolerance: float = TOLERANCE,
    on_end: Callable[[Reproduction], None] = lambda found: None,
) -> list[Reproduction]:
    """Trains cells at a commit, each in a process of its own; one outcome a record.

    Args:
        ledger: where the runs are. Nothing is written to it, and the commit's code does not see it.
        records: cells that are done.
        environment: of the commit.
        machine: what this machine is, by the ledger's tags, such as `processor`.
        data_dir: TFDS's data directory, if it has moved since the runs.
        num_concurrent: cells at once.
        tolerance: the largest difference of a score that counts as rounding.
        on_end: told of each outcome as it comes.

    Raises:
        LedgerError: a cell is not done, or its predictions are gone or broken.
    """
    before = [load_predictions(ledger, record.run_id) for record in records]

    def rerun(record: CellRecord, then: pd.DataFrame) -> Reproduction:
        where = str(data_dir or record.tags["data_dir"])
        with tempfile.TemporaryDirectory(prefix="mlp_med-rerun-") as directory:
            found = _train_there(environment, record, where, Path(directory))
            predictions = Path(directory) / "predictions.parquet"
            again = pd.read_parquet(predictions) if found["state"] == "done" else None
        outcome = _outcome(record, environment, found, machine, then, again, tolerance)
        on_end(outcome)
        return outcome

    with ThreadPoolExecutor(num_concurrent) as pool:
        return list(pool.map(rerun, records, before))


def _train_there(
    environment: CommitEnvironment, record: CellRecord, data_dir: str, directory: Path
) -> dict[str, Any]:
    job, result = directory / "job.json", directory / "result.json"
    content = {
        "params": dict(record.params),
        "later_params": dict(LATER_PARAMS),
        "data_dir": str(Path(data_dir).absolute()),
        "predictions": str(directory / "predictions.parquet"),
    }
    job.write_text(json.dumps(content))
    variables = {
        **clean_environment(),
        "PYTHONPATH": str(environment.code),
        "TMPDIR": str(directory),
    }
    script = str(Path(rerun_there.__file__).absolute())
    with (directory / "output").open("w+") as output:
        process = subprocess.Popen(
            # -P: the script's own folder belongs to this commit, and not to that one.
            [str(environment.python), "-P", script, str(job), str(result)],
            cwd=environment.code,
            env=variables,
            stdin=subprocess.PIPE,  # whose end tells the process that this one is gone
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            code = process.wait()
        finally:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        if result.exists():
            return json.loads(result.read_text())
        output.seek(0)
        said = output.read().strip().splitlines()[-1:] or ["nothing"]
    return {"state": "failed", "reason": f"exited with code {code}, and said: {said[0]}"}


def _outcome(
    record: CellRecord,
    environment: CommitEnvironment,
    found: Mapping[str, Any],
    machine: Mapping[str, str],
    then: pd.DataFrame,
    again: pd.DataFrame | None,
    tolerance: float,
) -> Reproduction:
    outcome = Reproduction(
        run_id=record.run_id,
        label=label_of(record),
        trained_at=record.tags.get("commit", NOT_RECORDED),
        result="cannot run there",
        auc_before=record.metrics.get("test_auc", math.nan),
        reason=found.get("reason", ""),
    )
    if found["state"] == "cannot run":
        return outcome
    outcome = replace(
        outcome, result="failed", changes=_changes(record, environment, found, machine)
    )
    if again is None:
        return outcome
    compared = compare_predictions(then, again)
    result: Result = "different"
    if compared.identical:
        result = "same bits"
    elif compared.largest_difference <= tolerance:
        result = "same within tolerance"
    return replace(
        outcome,
        result=result,
        largest_difference=compared.largest_difference,
        auc_before=compared.auc_before,
        auc_again=compared.auc_again,
    )


def _changes(
    record: CellRecord,
    environment: CommitEnvironment,
    found: Mapping[str, Any],
    machine: Mapping[str, str],
) -> dict[str, list[Change]]:
    """What differs from when the cell was trained, by what it belongs to."""
    tags, there = record.tags, found.get("environment", {})
    pairs: dict[str, dict[str, tuple[str, str]]] = {
        "code": {
            "commit": (tags.get("commit", NOT_RECORDED), environment.commit),
            "code_digest": (
                tags.get("code_digest", NOT_RECORDED),
                found.get("code_digest", NOT_RECORDED),
            ),
        },
        "versions": {
            name: (tags.get(name, NOT_RECORDED), value)
            for name, value in there.items()
            if name == "python" or name.startswith("version.")
        },
        "data": {"digest": (str(record.params["dataset_digest"]), found.get("data_digest", ""))},
        "machine": {name: (tags.get(name, NOT_RECORDED), value) for name, value in machine.items()},
    }
    if not found.get("data_digest"):
        del pairs["data"]
    digests = pairs["code"]["code_digest"]
    if digests[0] == digests[1] != NOT_RECORDED:
        del pairs["code"]  # of another commit, but the same where it decides a prediction
    changes = {
        room: [(name, *pair) for name, pair in found.items() if pair[0] != pair[1]]
        for room, found in pairs.items()
    }
    return {room: differing for room, differing in changes.items() if differing}
