"""A few cases of a source, rendered in memory, to be looked at before anything is built."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class PreviewCase:
    """One case at several resolutions.

    Attributes:
        id: of the example, as in the built dataset.
        label: the name of its class.
        crops: image by config name, finest first; as the features of the built dataset.
    """

    id: str
    label: str
    crops: dict[str, np.ndarray]
