from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mlp_med.phantoms.luna16 import write_luna16
from mlp_med.phantoms.tubes import Scene


@pytest.fixture(scope="session")
def phantom(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A phantom of 12 scans, the second of them flipped; tests must leave it as it is."""
    write = partial(write_luna16, num_scans=12, seed=29, num_workers=2)
    return made_once("phantom of luna16", write)


@pytest.fixture(scope="session")
def empty_box() -> Callable[..., Scene]:
    """Makes a cubic scene without tissue, centred on the origin."""

    def make(size_mm: float, spacing_mm: float = 0.5) -> Scene:
        num = round(size_mm / spacing_mm) + 1
        origin = np.full(3, -(num - 1) / 2 * spacing_mm)
        return Scene(np.zeros((num, num, num), np.float32), origin, np.full(3, spacing_mm))

    return make


@pytest.fixture(scope="session")
def volume_mm3() -> Callable[[Scene], float]:
    """Measures the tissue in a scene."""
    return lambda scene: float(scene.density.sum(dtype=float) * np.prod(scene.spacing_mm))
