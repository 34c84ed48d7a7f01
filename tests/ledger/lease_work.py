"""What the lease tests let other processes do; importable, so that a process can run it."""

import os
import random
import time
from pathlib import Path

from mlp_med.ledger import leases
from mlp_med.ledger.leases import Leases
from mlp_med.ledger.store import open_ledger
from mlp_med.ledger.study_run import start_study

CELLS = [f"{number:016x}" for number in range(6)]
HUNG = "f" * 16  # the cell of a sweep that never ends
PLAN = {"cells": [{"hash": cell, "arm": "5mm", "params": {"seed": 0}} for cell in CELLS]}


def begin(tracking_uri: str, lease_seconds: float) -> Leases:
    """As a sweep begins: the study's run, which the others may be making too, and its leases."""
    ledger = open_ledger(tracking_uri)
    study = start_study(ledger, "shared", "hash0", PLAN, {"size": "smoke"})
    return Leases(ledger, study, lease_seconds=lease_seconds)


def sweep(tracking_uri: str, notes: Path, seed: int, at_once) -> None:
    """Runs cells until each was run once by some process; a file marks a cell that runs now."""
    at_once.wait(60)
    held = begin(tracking_uri, lease_seconds=30.0)
    (notes / f"study-{seed}").write_text(held._run_id)
    cells = random.Random(seed).sample(CELLS, len(CELLS))
    with held.renewed():
        while not all((notes / f"{cell}.done").exists() for cell in CELLS):
            held.refresh()
            for cell in cells:
                if (notes / f"{cell}.done").exists() or held.take(cell) is None:
                    continue
                if not (notes / f"{cell}.done").exists():
                    _run(notes, cell)
                held.release(cell)


def _run(notes: Path, cell: str) -> None:
    try:
        os.close(os.open(notes / f"{cell}.running", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        (notes / "TWICE AT ONCE").write_text(cell)
    time.sleep(0.05)
    with (notes / "runs").open("a") as runs:
        runs.write(f"{cell}\n")
    (notes / f"{cell}.done").touch()
    (notes / f"{cell}.running").unlink(missing_ok=True)


def take_and_hang(tracking_uri: str, lease_seconds: float, machine: str, taken) -> None:
    """Takes a cell, on a machine of that name, and renews until it is killed."""
    leases._machine = lambda: machine
    held = begin(tracking_uri, lease_seconds)
    with held.renewed():
        assert held.take(HUNG) is not None
        taken.set()
        time.sleep(600)
