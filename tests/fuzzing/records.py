"""Records as they are committed, kept in a ledger or beside a dataset, and who reads them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from experiments import CALIBRATION, PILOTS, controls
from mlp_med.capacity.platforms import catalogue
from mlp_med.errors import LedgerError, SourceError
from mlp_med.evidence.calibration import read_record
from mlp_med.json_records import read_json_object
from mlp_med.phantoms.release import drawing
from mlp_med.studies.pilot_record import read_pilot
from tests.fuzzing.cases import Case
from tfds_builders.built_configs import built_configs
from tfds_builders.phantom_marker import unfinished_phantom

PLATFORM = """[mine]
title = "a machine"
kind = "cpu"
memory = { value = "16GB", source = "its label" }
bandwidth_gb_s = { value = 20.5, source = "measured" }
"""
PHANTOM = {"name": "luna16", "version": 2, "seed": 0, "num_scans": 20, "complete": True}
METADATA = {
    "source": "/data/luna16",
    "source_digest": "5" * 32,
    "examples_digest": "6" * 32,
    "options": {"negatives_per_positive": 3.0},
}


def draw(folder: Path) -> list[Case]:
    """The cases of every record."""
    return [*_committed(folder), *_beside_data(folder), *_platforms(folder)]


def _committed(folder: Path) -> list[Case]:
    kept = json.loads(CALIBRATION.read_text())
    calibration = folder / "calibration.json"
    calibration.write_text(json.dumps({**kept, "settings": kept["settings"][:1]}))
    pilot = folder / "pilot.json"
    shutil.copy(next(PILOTS.glob("*.json")), pilot)
    record = folder / "controls.json"
    shutil.copy(controls.SMALL.record, record)
    controls.PAIRS["fuzzed"] = replace(controls.SMALL, record=record)
    plan = {"size": "fuzzed", "code_digest": "c", "dataset": {"name": controls.DATASET}}
    return [
        Case(calibration, lambda: read_record(calibration), text=True),
        Case(pilot, lambda: read_pilot(pilot), text=True),
        Case(record, lambda: controls.recorded_controls(plan), text=True),
    ]


def _beside_data(folder: Path) -> list[Case]:
    marker, source = folder / "PHANTOM.json", folder
    marker.write_text(json.dumps(PHANTOM))
    config = folder / "luna16" / "5mm" / "1.0.0"
    config.mkdir(parents=True)
    (config / "dataset_info.json").touch()
    metadata = config / "metadata.json"
    metadata.write_text(json.dumps(METADATA))
    plan = folder / "study.json"
    plan.write_text(json.dumps({"name": "resolution_matters", "cells": [{"hash": "1"}]}))

    def read_marker() -> None:
        drawing(source)
        if problems := unfinished_phantom(source):
            raise SourceError(problems[0])

    return [
        Case(marker, read_marker, text=True),
        Case(metadata, lambda: built_configs(folder, "luna16", "1.0.0"), text=True),
        Case(plan, lambda: read_json_object(plan, LedgerError, "copy it back"), text=True),
    ]


def _platforms(folder: Path) -> list[Case]:
    path = folder / "platforms.toml"
    path.write_text(PLATFORM)
    return [Case(path, lambda: catalogue(path), text=True)]
