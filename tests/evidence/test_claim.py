import dataclasses

import pytest

from mlp_med.errors import EvidenceError
from mlp_med.evidence.claim import AS_USED, COMPUTE, Claim


def resolution_claim(**changes) -> Claim:
    fields = {
        "question": "Does resolution matter?",
        "statement": "Finer crops raise the AUC by more than 0.01",
        "margin": 0.01,
        "primary": ("1.25mm", "5mm upsampled to 1.25mm"),
        "secondary": {
            COMPUTE: ("5mm upsampled to 1.25mm", "5mm"),
            AS_USED: ("1.25mm", "5mm"),
        },
    }
    return Claim(**(fields | changes))


def test_a_claim_cannot_be_changed_after_it_is_written():
    with pytest.raises(dataclasses.FrozenInstanceError):
        resolution_claim().margin = 0.5
    hash(resolution_claim())


def test_the_digest_knows_every_field():
    digest = resolution_claim().digest
    assert resolution_claim().digest == digest
    changed = [
        resolution_claim(question="?"),
        resolution_claim(statement="Finer is better"),
        resolution_claim(margin=0.02),
        resolution_claim(primary=("1.25mm", "5mm")),
        resolution_claim(secondary={}),
    ]
    assert len({digest, *(claim.digest for claim in changed)}) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "accuracy"}, "must be 'auc' or 'macro_auc'"),
        ({"margin": -0.01}, "margin"),
        ({"margin": 1.0}, "margin"),
        ({"margin": float("nan")}, "margin"),
        ({"primary": ("5mm", "5mm")}, "two different arms"),
        ({"secondary": {"x": ("5mm",)}}, "x contrast"),
    ],
)
def test_a_claim_that_cannot_be_decided_is_refused(changes, message):
    with pytest.raises(EvidenceError, match=message):
        resolution_claim(**changes)
