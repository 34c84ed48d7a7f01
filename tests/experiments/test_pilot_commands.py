"""What a study without a pilot tells its user to run records it where it is looked for."""

import re
from pathlib import Path

import pytest

from experiments import PILOTS, STUDIES

ROOT = Path(__file__).parents[2]
COMMANDS = [
    (name, dataset, command)
    for name, experiment in STUDIES.items()
    for dataset, command in getattr(experiment, "PILOT_COMMANDS", {}).items()
]


@pytest.mark.parametrize(("name", "dataset", "command"), COMMANDS)
def test_the_target_writes_the_record_that_the_study_reads(name, dataset, command):
    target = command.removeprefix("make ")
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    assert recipe, f"no target {target}"
    pilot = next(line for line in recipe[1].splitlines() if "study pilot" in line)
    assert f"study pilot {name} " in pilot
    assert f"--dataset {dataset} " in pilot or dataset == "luna16"
    assert f"{PILOTS.relative_to(ROOT)}/{name}-{dataset}-small.json" in pilot


def test_every_study_that_has_a_pilot_says_what_records_it():
    without = [name for name, study in STUDIES.items() if not hasattr(study, "PILOT_COMMANDS")]
    assert [name for name in without if not hasattr(STUDIES[name], "PILOT_OF")] == []
