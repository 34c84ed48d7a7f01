"""A finished cell's scores in LUNA16's format: a mark for every candidate that it scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlp_med.csv_export import neutral, write_csv
from mlp_med.errors import DatasetError, StudyError
from mlp_med.evidence.mark_tables import MARK_COLUMNS
from mlp_med.ledger.read import load_predictions, read_cell
from mlp_med.ledger.store import Ledger
from mlp_med.pipelines.arrays import SPLITS
from mlp_med.studies.cell import Cell

SUBMISSION, SERIES = "submission.csv", "seriesuids.csv"


@dataclass(frozen=True, eq=False)
class Submission:
    """Marks of the scans that some cells have scored.

    Attributes:
        marks: seriesuid, coordX, coordY, coordZ (mm, LPS) and probability, by scan and falling
            probability.
        phantom: whether the scans were drawn.
        negatives_per_positive: how many non-nodules a nodule the dataset kept, over all scans; a
            detector has more candidates than that.
    """

    marks: pd.DataFrame
    phantom: bool
    negatives_per_positive: float

    @property
    def series(self) -> list[str]:
        """The scans that were read, sorted."""
        return sorted(set(self.marks["seriesuid"]))


def make_submission(
    ledger: Ledger, run_ids: Sequence[str], data_dir: Path | None = None
) -> Submission:
    """Joins the predictions of cells with the centres that the dataset keeps; nothing is trained.

    Args:
        ledger: where the runs are.
        run_ids: of one cell, or of the folds of a cross-validation, each of other scans.
        data_dir: TFDS's data directory, if it has moved since the runs.

    Raises:
        LedgerError: no such run, not a cell's, or not done.
        StudyError: a cell of another dataset, or of the validation split; a case scored twice.
        DatasetError: the dataset is not there, or is not the one that was scored.
    """
    parts: list[pd.DataFrame] = []
    about: dict[str, Any] = {}
    for run_id in run_ids:
        record = read_cell(ledger, run_id)
        cell = Cell.from_params(record.params)
        if cell.dataset != "luna16" or cell.scored_split != "test":
            raise StudyError(
                f"expected a cell that scored the test split of luna16, run {run_id} scored the "
                f"{cell.scored_split} split of {cell.dataset}"
            )
        centres, about = _centres(cell, data_dir or Path(record.tags["data_dir"]))
        predictions = load_predictions(ledger, run_id)
        marks = predictions.merge(centres, on="id", how="left", validate="one_to_one")
        if marks["coordX"].isna().any():
            raise DatasetError(f"the predictions of run {run_id} name cases that the dataset lacks")
        parts.append(marks)
    marks = pd.concat(parts, ignore_index=True)
    twice = int(marks["id"].duplicated().sum())
    if twice:
        raise StudyError(
            f"{twice:,} cases are scored by more than one of the runs {', '.join(run_ids)}; give "
            "one run, or the folds of one seed"
        )
    marks = marks.rename(columns={"patient": "seriesuid", "score": "probability"})
    marks = marks.sort_values(["seriesuid", "probability", "id"], ascending=[True, False, True])
    return Submission(
        marks=marks[MARK_COLUMNS].reset_index(drop=True),
        phantom=bool(about.get("phantom", False)),
        negatives_per_positive=float(about["options"]["negatives_per_positive"]),
    )


def write_submission(submission: Submission, out: Path) -> tuple[Path, Path]:
    """Writes the marks and the list of scans into the directory `out`; returns their paths.

    Raises:
        StudyError: they cannot be written.
    """
    marks, series = out / SUBMISSION, out / SERIES
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_csv(submission.marks, marks, float_format="%.9g")
        series.write_text("".join(f"{neutral(name)}\n" for name in submission.series))
    except OSError as error:
        raise StudyError(f"cannot write to {out}: {error.strerror or error}") from error
    return marks, series


def _centres(cell: Cell, data_dir: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """id, coordX, coordY, coordZ of every example, and the dataset's metadata."""
    import tensorflow_datasets as tfds

    import tfds_builders

    builder = tfds_builders.open_config(cell.dataset, cell.resolution, data_dir)
    metadata = dict(builder.info.metadata)
    if metadata["examples_digest"] != cell.dataset_digest:
        raise DatasetError(
            f"{builder.info.full_name} in {data_dir} is not the dataset that was scored: expected "
            f"the digest {cell.dataset_digest}, found {metadata['examples_digest']}; name the data "
            "directory with --data-dir"
        )
    ids, centres = [], []
    for split in SPLITS:
        examples = builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding({"id": True, "centre_mm": True}),
            read_config=tfds.ReadConfig(try_autocache=False),
        )
        for example in tfds.as_numpy(examples):
            ids.append(example["id"].decode())
            centres.append(example["centre_mm"])
    table = pd.DataFrame(np.array(centres, dtype=np.float64), columns=MARK_COLUMNS[1:4])
    return table.assign(id=ids), metadata
