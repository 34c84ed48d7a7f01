"""Controls of the resolution study: two drawn tasks whose outcome is known beforehand.

Negative.  The answer lies in structure of 15 mm or more, which every resolution shows: finest and
           (coarsest, upsampled) must come out equivalent.
Positive.  The answer lies in structure of about 2.5 mm, which 1.25 mm voxels show and 5 mm voxels
           do not: the claim must come out supported.
Both run through the very code of `resolution_matters`. Their record holds for that code alone:
all that datasets share and, for studies of CT, the builder that cut their crops. Without a record
that has passed there is no verdict.

    make controls       runs both and writes experiments/controls.json
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.sizes import Size
from mlp_med.errors import EvidenceError
from mlp_med.evidence.controls import Controls, read_record
from mlp_med.studies.provenance import code_digest, common_code_digest, evidence_digest

RECORD = Path(__file__).with_name("controls.json")
# Name of the control → variant of the phantom.
VARIANTS = {"negative": "coarse_answer", "positive": "fine_answer"}
NUM_SCANS = 100
DATASET = "luna16"  # whose builder cuts the crops
TRAINING, EVIDENCE = "training code", "evidence code"
TRAINING_AND_BUILDER = f"training code or of the builder {DATASET}"
SIZE = Size(
    resolutions=(1.25, 5.0),
    primary=(1.25, 5.0),
    model="residual_small_centre",
    global_batch_size=16,
    learning_rate=4e-3,
    budget_examples=9_600,
    num_evaluations=4,
    num_seeds=5,
)


def recorded_controls(plan: Mapping[str, Any]) -> Controls:
    """What the committed record says of the code that trained a study.

    Args:
        plan: of the study, as the ledger keeps it.

    Raises:
        EvidenceError: the record cannot be read.
    """
    try:
        record = json.loads(RECORD.read_text()) if RECORD.exists() else None
        return read_record(record, _digests_of(plan))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError(
            f"{RECORD} is no record of the controls ({error!r}); run: make controls"
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
