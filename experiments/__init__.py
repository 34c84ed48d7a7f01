"""One file a study: the question, the claim, the grid."""

from pathlib import Path
from types import ModuleType

from experiments import (
    batch_size_matters,
    memory_fits,
    more_data,
    platforms,
    resolution_matters,
    resolution_or_batch,
    splitting_costs,
)
from mlp_med.errors import StudyError

STUDIES: dict[str, ModuleType] = {
    "resolution_matters": resolution_matters,
    "more_data": more_data,
    "batch_size_matters": batch_size_matters,
    "splitting_costs": splitting_costs,
    "resolution_or_batch": resolution_or_batch,
}
# Computed from the capacity model; they train nothing that has to converge.
COMPUTED: dict[str, ModuleType] = {"memory_fits": memory_fits, "platforms": platforms}
CALIBRATION = Path(__file__).with_name("calibration.json")  # simulated studies' error rates
PILOTS = Path(__file__).with_name("pilots")  # recorded pilots, named <study>-<dataset>-<size>.json


def find_study(name: str) -> ModuleType:
    """The experiment file of a study.

    Raises:
        StudyError: there is no study of this name.
    """
    if name in COMPUTED:
        raise StudyError(f"{name} trains nothing that converges; run: mlp-med study compute {name}")
    if name not in STUDIES:
        raise StudyError(f"there is no study {name!r}; there are: {', '.join(STUDIES)}")
    return STUDIES[name]
