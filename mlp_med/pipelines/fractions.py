"""A fraction of the training set: whole patients, so that fewer patients is what is measured.

The patients are taken in an order drawn from the seed, so that a seed's smaller sets lie within its
larger ones and other seeds draw other patients: what a network of few patients owes to which ones
they are is then part of how much seeds vary.
"""

import numpy as np

from mlp_med.errors import DatasetError
from mlp_med.pipelines.arrays import Examples
from mlp_med.pipelines.order import epoch_permutation


def take_fraction(examples: Examples, fraction: float, *, seed: int) -> Examples:
    """The first patients of the seed's order that together hold the fraction of the examples.

    A case whose patient is unknown counts as a patient of its own.

    Args:
        examples: of the training split.
        fraction: in (0, 1]; 1 returns `examples` itself.
        seed: of the order of the patients.

    Returns:
        At least one patient, in the order of `examples`; the number of examples is as near to the
        fraction as whole patients come.

    Raises:
        ValueError: the fraction is not in (0, 1].
        DatasetError: what is left lacks a class.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"expected a fraction of the training set in (0, 1], got {fraction}")
    if fraction == 1:
        return examples
    whose = np.where(examples.patients == "", examples.ids, examples.patients)
    _, patient, sizes = np.unique(whose, return_inverse=True, return_counts=True)
    order = epoch_permutation(len(sizes), seed=seed, epoch=0)
    held = np.cumsum(sizes[order])
    num_patients = 1 + int(np.argmin(np.abs(held - fraction * len(examples))))
    kept = np.flatnonzero(np.isin(patient, order[:num_patients]))
    if len(set(examples.labels[kept].tolist())) < len(set(examples.labels.tolist())):
        raise DatasetError(
            f"a fraction of {fraction:g} of the training set is {num_patients} of {len(sizes)} "
            f"patients with {len(kept)} cases, which lack a class; take a larger fraction"
        )
    return examples.take(kept)
