"""A dataset as a study knows it, without crops."""

from typing import Any

from mlp_med.studies.study import DatasetInfo

COUNTS = {"train": 700, "validation": 100, "test": 200}


def dataset_info(name: str = "luna16", **changes: Any) -> DatasetInfo:
    """A phantom of 1,000 cases, a quarter of them positive, ten a patient."""
    described = {
        "name": name,
        "data_dir": "/data",
        "source": f"/{name}",
        "source_digest": "5" * 64,
        "phantom": True,
        "unit": "mm",
        "num_cases": COUNTS,
        "num_positive": {split: number // 4 for split, number in COUNTS.items()},
        "num_patients": {split: number // 10 for split, number in COUNTS.items()},
        "folds": (),
    }
    return DatasetInfo(**{**described, **changes})
