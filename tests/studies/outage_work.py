"""A study whose cells train nothing, so that its server can be taken away under it."""

import functools
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from mlp_med.evidence.claim import Claim
from mlp_med.studies import run, sweep, worker
from mlp_med.studies.launchers.local import launch_local
from mlp_med.studies.room import Machine, Needs
from mlp_med.studies.study import Study
from mlp_med.studies.work import PRELOAD, train_and_log
from tests.studies.cells import small_cell
from tests.studies.synthetic import dataset_info

NUM_CELLS = 6
ONE_AT_ONCE = Machine("here", 1, 0)
HELD = 1  # this cell ends only when it is told to, by a file


def drawn(order, send):
    """What a cell of this seed is said to have scored."""
    seed = order.cell.seed
    notes = Path(order.data_dir)
    (notes / f"{seed}.began").touch()
    while seed == HELD and not (notes / "go").exists():
        time.sleep(0.05)
    score = np.random.default_rng(seed).random(20).astype(np.float32)
    predictions = pd.DataFrame(
        {
            "id": [f"c{number}" for number in range(20)],
            "patient": "p",
            "seed": seed,
            "label": np.arange(20) % 2,
            "score": score,
        }
    )
    curve = pd.DataFrame({"examples_seen": [40, 80], "validation_auc": [0.5, seed / 10]})
    (notes / f"{seed}.ended").touch()
    return worker.CellResult(predictions, curve, {"test_auc": seed / 10})


def work(order, send):
    """What a cell's process does: all of it but the training."""
    worker.train = drawn
    train_and_log(order, send)


def study_in(data_dir) -> Study:
    cells = tuple(small_cell(seed=seed) for seed in range(NUM_CELLS))
    return Study(
        name="outage",
        size="small",
        claim=Claim("is anything lost?", "nothing is", 0.01, ("a", "b")),
        cells=cells,
        arm_names={cell.hash: "5mm" for cell in cells},
        dataset_info=dataset_info(data_dir=str(data_dir)),
        code_digest="c",
        common_code_digest="c",
    )


def main(tracking_uri: str, data_dir: str) -> None:
    from mlp_med.errors import MlpMedError
    from mlp_med.ledger.store import open_ledger

    sweep.train_in_workers_and_log = work
    try:
        record = run.run_study(
            study_in(data_dir),
            open_ledger(tracking_uri),
            launch=functools.partial(launch_local, machine=ONE_AT_ONCE, preload=PRELOAD),
            needs_of=lambda cells: [Needs(1)] * len(cells),
            on_event=lambda cell, event: print(cell.seed, type(event).__name__, flush=True),
        )
    except MlpMedError as error:
        sys.exit(f"error: {error}")
    print(record.run_id, len(record.in_state("done")), flush=True)
