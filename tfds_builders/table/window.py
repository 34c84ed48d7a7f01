"""The intensity window of a dataset: the native values that a network sees as 0 and 1."""

import math
from collections.abc import Sequence

import numpy as np

from mlp_med.errors import SourceError
from mlp_med.imaging import formats
from mlp_med.imaging.formats import read_image
from tfds_builders.hashing import digest_of
from tfds_builders.table.crops import one_thread, render
from tfds_builders.table.survey import Survey

WINDOW_EXAMPLES = 64
WINDOW_PERCENTILES = (0.5, 99.5)


def choose_window(survey: Survey, stated: Sequence[float] | None) -> tuple[float, float]:
    """The native values that become 0 and 1.

    Stated; 0 and 255 for 8-bit images; else the 0.5th and 99.5th percentile over some training
    crops (those whose ids come first by hash) at the finest resolution.

    Raises:
        SourceError: the stated ones are no interval, or the crops hold one value only.
    """
    design = survey.require_sound()
    if stated is not None:
        low, high = (float(value) for value in stated)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise SourceError(
                f"expected an intensity window of low < high, found {low:g}, {high:g}"
            )
        return low, high
    if design.dtype == formats.BYTE:
        return 0.0, 255.0
    training = survey.examples[survey.examples["split"] == "train"]
    order = np.argsort([digest_of([name]) for name in training["id"]])[:WINDOW_EXAMPLES]
    values = []
    finest = design.resolutions[0]
    with one_thread():
        for path, rows in training.iloc[order].groupby("path"):
            image = read_image(survey.headers[str(path)])
            centres = survey.centres_mm(rows)
            crops = render(image, centres, design.field_mm, finest, design.dtype, None)
            values += [crop.ravel() for crop in crops]
    low, high = (
        float(f"{p:.4g}") for p in np.percentile(np.concatenate(values), WINDOW_PERCENTILES)
    )
    if low >= high:
        raise SourceError(
            f"{survey.source}: the training crops hold hardly any value but {low:g}; are their "
            "centres where they should be? If so, state intensity_window"
        )
    return low, high
