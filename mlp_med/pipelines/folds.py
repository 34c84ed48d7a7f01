"""The splits of one round of a cross-validation, as a dataset's own folds make them."""

from pathlib import Path

import numpy as np

from mlp_med.errors import DatasetError
from mlp_med.pipelines.arrays import ALL, Examples, load_split

FEWEST_FOLDS = 3  # one to test, one to validate, one to train on
OWN_SPLITS = -1  # where a fold is asked for: none, but the splits that the dataset was built with


def load_splits(
    name: str, data_dir: Path, resolution: float, fold: int, *, scored: str
) -> tuple[Examples, Examples, Examples]:
    """Training, validation and scored examples.

    Fold k tests on the cases of fold k, validates on those of the next one (of the first, for the
    last), and trains on all others, as LUNA16's ten-fold cross-validation does (Setio et al.,
    Medical Image Analysis 42, 2017).

    Args:
        name: the dataset's.
        data_dir: where it was built.
        resolution: edge of a voxel in the dataset's unit.
        fold: a fold of the dataset, or `OWN_SPLITS`.
        scored: which split's predictions are wanted, "test" or "validation".

    Raises:
        DatasetError: as `load_split`; or the dataset has no such fold.
    """
    if fold == OWN_SPLITS:
        wanted = ("train", "validation", scored)
        train, validation, other = (load_split(name, data_dir, resolution, s) for s in wanted)
        return train, validation, other
    splits = split_by_fold(load_split(name, data_dir, resolution, ALL), fold)
    return splits["train"], splits["validation"], splits[scored]


def split_by_fold(examples: Examples, fold: int) -> dict[str, Examples]:
    """Splits the examples of a whole dataset.

    Args:
        examples: of every split, with their folds.
        fold: that is tested on.

    Raises:
        DatasetError: no such fold, fewer than three, a patient in two, or a split without a class.
    """
    known = sorted(set(examples.folds.tolist()) - {OWN_SPLITS})
    if fold not in known or len(known) < FEWEST_FOLDS:
        raise DatasetError(
            f"expected a dataset of at least {FEWEST_FOLDS} folds, {fold} among them, got the "
            f"folds {known or 'none'}; only LUNA16's subset0 … subset9 are folds"
        )
    _check_patients(examples)
    validation = known[(known.index(fold) + 1) % len(known)]
    is_test, is_validation = examples.folds == fold, examples.folds == validation
    members = {"train": ~is_test & ~is_validation, "validation": is_validation, "test": is_test}
    members["train"] &= examples.folds != OWN_SPLITS
    return {
        split: _taken(examples, member, f"{split} of fold {fold}")
        for split, member in members.items()
    }


def _check_patients(examples: Examples) -> None:
    pairs = {*zip(examples.patients.tolist(), examples.folds.tolist(), strict=True)}
    seen: set[str] = set()
    for patient, _ in sorted(pairs):
        if patient and patient in seen:
            raise DatasetError(
                f"patient {patient!r} is in two folds: tested and trained on at once"
            )
        seen.add(patient)


def _taken(examples: Examples, member: np.ndarray, where: str) -> Examples:
    kept = np.flatnonzero(member)
    if len(set(examples.labels[kept].tolist())) < len(set(examples.labels.tolist())):
        raise DatasetError(
            f"the {where} has {len(kept)} examples and not every class; give the source more scans"
        )
    return examples.take(kept)
