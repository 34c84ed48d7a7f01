"""A study: a claim and a grid of cells, planned before anything trains."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlp_med.evidence.claim import Claim
from mlp_med.pipelines.folds import OWN_SPLITS
from mlp_med.studies.cell import Cell


@dataclass(frozen=True, kw_only=True)
class Study:
    """What will be run, and what it will decide.

    Attributes:
        name: the experiment file's name.
        size: "smoke", "small" or "full".
        claim: written before the run.
        claims: all of them where there are several, `claim` first, judged together; else empty.
        cells: the grid; the order is the order in which they start.
        arm_names: the name of each cell's arm by the cell's hash.
        dataset_info: where the crops are and what they were made of.
        code_digest: digest of the code that decides the numbers; another code, another study.
        common_code_digest: of the part of it that every dataset shares, for which controls hold.
        no_verdict_reason: why this size claims no verdict, or None.
        pilot: what the pilot found that chose learning rates and budget (`PilotResult.to_dict`),
            and "settings_of": which arm's settings an arm took over.
        memory: what the arms take of a budget of memory that they share
            (`mlp_med.studies.memory_budget.predicted_memory`); None where they share none.
        pilot_command: what records the pilot of its phantom, where one may be wanted.
        identity: what makes it this study, where its arms do not (a pilot finds its arms as it
            goes); empty for the arms.
    """

    name: str
    size: str
    claim: Claim
    cells: tuple[Cell, ...]
    arm_names: Mapping[str, str]
    dataset_info: "DatasetInfo"
    code_digest: str
    common_code_digest: str
    claims: tuple[Claim, ...] = ()
    no_verdict_reason: str | None = None
    pilot: Mapping[str, Any] | None = None
    memory: Mapping[str, Any] | None = None
    pilot_command: str = ""
    identity: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """16 hexadecimal digits; the same for any number of seeds, so that seeds can be added."""
        arms = self.identity or sorted(
            {json.dumps(cell.arm_key().to_params(), sort_keys=True) for cell in self.cells}
        )
        claims = [claim.digest for claim in self.claims or (self.claim,)]
        parts = [self.name, self.size, *claims, self.code_digest, *arms]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def cross_validated(self) -> bool:
        """Whether every case is tested, by the fold that it is in."""
        return any(cell.fold != OWN_SPLITS for cell in self.cells)

    def arm_of(self, cell: Cell) -> str:
        """The name of the cell's arm, e.g. "1.25mm"."""
        return self.arm_names[cell.hash]

    def plan(self) -> dict[str, object]:
        """What the ledger keeps of the study, as plain values for JSON."""
        return {
            "name": self.name,
            "size": self.size,
            "claim": asdict(self.claim),
            "claims": [asdict(claim) for claim in self.claims],
            "dataset": asdict(self.dataset_info),
            "code_digest": self.code_digest,
            "common_code_digest": self.common_code_digest,
            "no_verdict_reason": self.no_verdict_reason,
            "pilot": dict(self.pilot) if self.pilot is not None else None,
            "memory": self.memory,
            "pilot_command": self.pilot_command,
            "cells": [
                {"hash": cell.hash, "arm": self.arm_of(cell), "params": cell.to_params()}
                for cell in self.cells
            ],
        }


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Where a study's crops lie and what they were made of.

    Attributes:
        name: name of the TFDS builder.
        data_dir: TFDS's data directory.
        source: the directory of scans that the crops were cut from.
        source_digest: its digest, stored with the crops.
        phantom: whether the scans were drawn by a program.
        unit: "mm" or "um", of every resolution.
        num_cases: crops by split.
        num_positive: crops of label 1 by split; of more than two classes, of the scarcest.
        num_patients: patients by split; None where the source does not tell patients.
        folds: of a cross-validation, that the dataset comes with; none where empty.
        task: which of its tasks it was built for; "" where it has but one.
        num_classes: of its labels.
    """

    name: str
    data_dir: str
    source: str
    source_digest: str
    phantom: bool
    unit: str
    num_cases: Mapping[str, int]
    num_positive: Mapping[str, int]
    num_patients: Mapping[str, int] | None
    folds: tuple[int, ...] = ()
    task: str = ""
    num_classes: int = 2

    @property
    def metric(self) -> str:
        """What a claim on it is about: "auc", or "macro_auc" of more than two classes."""
        return "auc" if self.num_classes == 2 else "macro_auc"

    def num_scored(self, *, cross_validated: bool) -> tuple[int, int, int | None]:
        """Cases, positive cases and patients that a study's verdict rests on; None if unknown."""
        splits = list(self.num_cases) if cross_validated else ["test"]
        cases = sum(self.num_cases[split] for split in splits)
        positive = sum(self.num_positive[split] for split in splits)
        if self.num_patients is None:
            return cases, positive, None
        return cases, positive, sum(self.num_patients[split] for split in splits)
