"""Controls of the resolution study: two drawn tasks whose outcome is known beforehand.

Negative.  The answer lies in structure of 15 mm or more, which every resolution shows: finest and
           (coarsest, upsampled) must come out equivalent.
Positive.  The answer lies in structure of about 2.5 mm, which 1.25 mm voxels show and 5 mm voxels
           do not: the claim must come out supported.
Both run through the very code of `resolution_matters`. Their record holds for that code alone;
without a record that has passed there is no verdict.

    make controls       runs both and writes experiments/controls.json
"""

import json
from pathlib import Path

from experiments.resolution_matters import Size
from mlp_med.errors import EvidenceError
from mlp_med.evidence.controls import Controls, read_record
from mlp_med.studies.provenance import evidence_digest

RECORD = Path(__file__).with_name("controls.json")
# Name of the control → variant of the phantom.
VARIANTS = {"negative": "coarse_answer", "positive": "fine_answer"}
NUM_SCANS = 100
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


def recorded_controls(code_digest: str) -> Controls:
    """What the committed record says of the code that trained a study.

    Args:
        code_digest: of that code, as the study's plan keeps it.

    Raises:
        EvidenceError: the record cannot be read.
    """
    try:
        record = json.loads(RECORD.read_text()) if RECORD.exists() else None
        return read_record(record, digests(code_digest))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError(
            f"{RECORD} is no record of the controls ({error!r}); run: make controls"
        ) from error


def digests(code_digest: str) -> dict[str, str]:
    """The digests that a record must have to hold for this code."""
    return {"training code": code_digest, "evidence code": evidence_digest()}
