"""The line from stored values to those that a DICOM image means (PS3.3, C.11.1)."""

from pathlib import Path

import numpy as np
from pydicom import Dataset

from mlp_med.errors import ImageError


def stated_rescale(path: Path, dataset: Dataset) -> tuple[float | None, float | None]:
    """Slope and intercept, each None where the file states none.

    Raises:
        ImageError: the slope is 0, which GDCM would read as 1, or one of the two is not finite.
    """
    slope, intercept = (
        None if dataset.get(keyword) in (None, "") else float(dataset[keyword].value)
        for keyword in ("RescaleSlope", "RescaleIntercept")
    )
    if slope == 0 or not np.isfinite([slope or 1, intercept or 0]).all():
        raise ImageError(
            f"{path}: expected a finite RescaleSlope other than 0 and a finite RescaleIntercept, "
            f"found {slope} and {intercept}; correct them, export the image again, or leave it out"
        )
    return slope, intercept
