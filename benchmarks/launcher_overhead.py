"""What a sweep costs beside its training, and whether a cluster that loses a node ends alike.

    python benchmarks/launcher_overhead.py dry                # 10, 100 and 1,000 cells of no work
    python benchmarks/launcher_overhead.py processes          # 20 cells whose process does nothing
    python benchmarks/launcher_overhead.py ray --cells 60     # 3 Ray nodes, one killed, and here

`dry` plans and writes cells without a process: planning with the dry run, then leases and ledger.
`processes` adds what the launcher local does for each. `ray` trains tiny cells on patches of noise
on a Ray cluster of three nodes on the loopback, kills one of them by SIGKILL in mid-study, trains
the same study on this machine, and compares the ledgers run for run. It needs the extra ray, and
is to be called in the repository's root.
"""

import argparse
import functools
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))

# A small study's cell on one thread, as the README's table has it.
SECONDS_OF_A_SMALL_CELL = 133.0


def main() -> None:
    """Runs one case and prints it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=["dry", "processes", "ray"])
    parser.add_argument("--cells", type=int, nargs="+", default=None)
    parser.add_argument("--budget-examples", type=int, default=1600)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if arguments.case == "dry":
            found: Any = [dry(directory, number) for number in arguments.cells or (10, 100, 1000)]
        elif arguments.case == "processes":
            found = processes(directory, (arguments.cells or [20])[0])
        else:
            found = ray(directory, (arguments.cells or [60])[0], arguments.budget_examples)
    print(json.dumps(found, indent=2))


def dry(directory: Path, number: int) -> dict[str, Any]:
    """Seconds to plan `number` cells and to write their ledger, without any process."""
    from mlp_med.ledger.store import open_ledger
    from mlp_med.studies.cell_needs import survey, this_machine
    from mlp_med.studies.forecast import cell_seconds
    from mlp_med.studies.launchers.dry_run import dry_run_lines
    from tests.studies.sweep_work import no_work

    place = directory / str(number)
    study = _study(place, number)
    began = time.monotonic()
    needs = survey(study.cells, Path(study.dataset_info.data_dir)).needs
    seconds, origin = cell_seconds(study, None)
    by_cell = dict(zip(study.cells, needs, strict=True))
    dry_run_lines(study, study.cells, by_cell, seconds, [this_machine()], origin)
    planned = time.monotonic() - began
    ledger = open_ledger(f"sqlite:///{place}/mlflow.db")
    took = _sweep(study, ledger, no_work(ledger, place))
    return {
        "cells": number,
        "planning_and_dry_run_s": round(planned, 3),
        "leases_and_ledger_s": round(took, 3),
        "leases_and_ledger_ms_a_cell": round(1000 * took / number, 1),
        "share_of_a_small_cell": round(took / number / SECONDS_OF_A_SMALL_CELL, 5),
    }


def processes(directory: Path, number: int) -> dict[str, Any]:
    """Seconds a cell through the launcher local, whose process only writes a cell's result."""
    from mlp_med.ledger.store import open_ledger
    from mlp_med.studies.launchers.local import launch_local
    from mlp_med.studies.room import Machine
    from mlp_med.studies.work import PRELOAD
    from tests.studies.sweep_work import write_only

    study = _study(directory, number)
    ledger = open_ledger(f"sqlite:///{directory}/mlflow.db")

    def launch(jobs: Any, work: Any, on_event: Any, *, is_lost: Any) -> None:
        machine = Machine("here", 1, 10**12)
        launch_local(jobs, write_only, on_event, machine=machine, preload=PRELOAD, is_lost=is_lost)

    took = _sweep(study, ledger, launch)
    return {
        "cells": number,
        "s_a_cell": round(took / number, 3),
        "share_of_a_small_cell": round(took / number / SECONDS_OF_A_SMALL_CELL, 4),
    }


def ray(directory: Path, number: int, budget_examples: int) -> dict[str, Any]:
    """Trains a study on three nodes, kills one, trains it here, and compares the ledgers."""
    from mlp_med.ledger.store import open_ledger
    from mlp_med.studies.launchers.local import launch_local
    from mlp_med.studies.room import Machine
    from mlp_med.studies.work import PRELOAD
    from tests.studies.noise_study import contents, noise_study

    study = noise_study(directory, number, budget_examples)
    there = open_ledger(f"sqlite:///{directory}/ray/mlflow.db")
    ray_seconds, record, ends, lost = _on_ray(study, there)
    here = open_ledger(f"sqlite:///{directory}/local/mlflow.db")
    machine = Machine("here", 2, 10**12)
    began = time.monotonic()
    local = _run(study, here, functools.partial(launch_local, machine=machine, preload=PRELOAD))
    local_seconds = time.monotonic() - began
    ours, theirs = contents(here, local), contents(there, record)
    training = sum(cell.metrics["seconds_total"] for cell in local.cells)
    return {
        "cells": number,
        "ends_on_ray": ends,
        "killed": lost,
        "done": [len(each.in_state("done")) for each in (record, local)],
        "cells_alike": sum(ours[name] == theirs[name] for name in ours),
        "ray_s": round(ray_seconds, 1),
        "local_s": round(local_seconds, 1),
        "local_cells_own_s": round(training, 1),
        "local_sweep_beside_it": round(2 * local_seconds / training - 1, 3),
    }


def _on_ray(study: Any, ledger: Any) -> tuple[float, Any, dict[str, int], str]:
    from mlp_med.studies.launchers.ray_cluster import joined, require_usable_nodes
    from mlp_med.studies.launchers.ray_launcher import RayLauncher
    from mlp_med.studies.orders import Done, Failed
    from mlp_med.studies.work import PRELOAD
    from tests.studies.ray_nodes import ray_cluster

    ends: Counter[str] = Counter()
    with ray_cluster() as (head, nodes), joined(head):
        require_usable_nodes(study.dataset_info, ledger)

        def watch(cell: Any, event: Any) -> None:
            if isinstance(event, Done | Failed):
                ends[getattr(event, "kind", "done")] += 1
                if ends["done"] == len(study.cells) // 3 and nodes[-1].process.poll() is None:
                    nodes[-1].kill()

        began = time.monotonic()
        record = _run(study, ledger, RayLauncher(PRELOAD), watch)
        return time.monotonic() - began, record, dict(ends), nodes[-1].address


def _study(directory: Path, number: int) -> Any:
    from tests.studies.noise_study import noise_study

    study = noise_study(directory, 1)
    cells = tuple(replace(study.cells[0], seed=1000 + seed) for seed in range(number))
    return replace(study, cells=cells, arm_names={cell.hash: "7.76um" for cell in cells})


def _sweep(study: Any, ledger: Any, launch: Any) -> float:
    began = time.monotonic()
    record = _run(study, ledger, launch)
    assert len(record.in_state("done")) == len(study.cells)
    return time.monotonic() - began


def _run(study: Any, ledger: Any, launch: Any, on_event: Any = lambda cell, event: None) -> Any:
    from mlp_med.studies.room import Needs
    from mlp_med.studies.run import run_study

    return run_study(
        study,
        ledger,
        launch=launch,
        needs_of=lambda cells: [Needs(1, 10**9)] * len(cells),
        on_event=on_event,
    )


if __name__ == "__main__":
    main()
