"""Controls of the resolution study: two drawn tasks whose outcome is known beforehand.

Negative.  The answer lies in structure of 15 mm or more, which every resolution shows: finest and
           (coarsest, upsampled) must come out equivalent.
Positive.  The answer lies in structure which the finest voxels show and 5 mm voxels do not: the
           claim must come out supported. It is about 2.5 mm large for studies of small size, whose
           finest voxels are 1.25 mm, and 1.25 mm for those of full size, whose finest are 0.625 mm.
Both run through the very code of `resolution_matters`. Their record holds for that code alone:
all that datasets share and, for studies of CT, the builder that cut their crops. Without a record
that has passed there is no verdict.

    make controls          both for studies of small size; writes experiments/controls.json
    make controls-full     both for studies of full size; writes experiments/controls-full.json
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.sizes import Size
from mlp_med.errors import EvidenceError
from mlp_med.evidence.controls import Controls, read_record
from mlp_med.json_records import read_json_object
from mlp_med.phantoms.controls import FINE_BLOB_MM
from mlp_med.studies.provenance import code_digest, common_code_digest, evidence_digest

# Name of the control → variant of the phantom.
VARIANTS = {"negative": "coarse_answer", "positive": "fine_answer"}
NUM_SCANS = 100
DATASET = "luna16"  # whose builder cuts the crops
TRAINING, EVIDENCE = "training code", "evidence code"
TRAINING_AND_BUILDER = f"training code or of the builder {DATASET}"


@dataclass(frozen=True, kw_only=True)
class ControlPair:
    """The negative and the positive control that belong to studies of one size.

    Attributes:
        record: the committed file.
        command: that makes it again.
        fine_mm: size of the structure in which the positive control's answer lies.
        size: resolutions, network and budget of both.
    """

    record: Path
    command: str
    fine_mm: float
    size: Size


SMALL = ControlPair(
    record=Path(__file__).with_name("controls.json"),
    command="make controls",
    fine_mm=FINE_BLOB_MM,
    size=Size(
        resolutions=(1.25, 5.0),
        primary=(1.25, 5.0),
        model="residual_small_centre",
        global_batch_size=16,
        learning_rate=4e-3,
        budget_examples=9_600,
        num_evaluations=4,
        num_seeds=5,
    ),
)
FULL = ControlPair(
    record=Path(__file__).with_name("controls-full.json"),
    command="make controls-full",
    fine_mm=1.25,
    size=replace(SMALL.size, resolutions=(0.625, 5.0), primary=(0.625, 5.0)),
)
PAIRS = {"small": SMALL, "full": FULL}


def pair_for(study_size: str) -> ControlPair:
    """The controls that a study of this size needs: full has its own, all others the small."""
    return PAIRS.get(study_size, SMALL)


def recorded_controls(plan: Mapping[str, Any]) -> Controls:
    """What the committed record says of the code that trained a study.

    Args:
        plan: of the study, as the ledger keeps it.

    Raises:
        EvidenceError: the record cannot be read.
    """
    pair = pair_for(plan["size"])
    try:
        record = None
        if pair.record.exists():
            record = read_json_object(pair.record, EvidenceError, f"run: {pair.command}")
            if not all(outcome["passed"] in (True, False) for outcome in record["outcomes"]):
                raise ValueError("an outcome neither passed nor failed")
        return read_record(record, _digests_of(plan), pair.command)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvidenceError(
            f"{pair.record} is no record of the controls ({error!r}); run: {pair.command}"
        ) from error


def digests_now() -> dict[str, str]:
    """What a record made now holds for."""
    return {
        TRAINING: common_code_digest(),
        TRAINING_AND_BUILDER: code_digest(DATASET),
        EVIDENCE: evidence_digest(),
    }


def _digests_of(plan: Mapping[str, Any]) -> dict[str, str]:
    """What a record must hold for, to hold for a study."""
    if plan["dataset"]["name"] == DATASET:
        trained_by = {TRAINING_AND_BUILDER: str(plan["code_digest"])}
    else:
        trained_by = {TRAINING: str(plan.get("common_code_digest"))}
    return {**trained_by, EVIDENCE: evidence_digest()}
