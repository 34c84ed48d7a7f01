from functools import partial

import pytest

from mlp_med.models.presets import PRESETS
from tests.ledger.conftest import ledger  # noqa: F401
from tests.studies.cells import small_cell


@pytest.fixture
def make_cell():
    return small_cell


@pytest.fixture
def make_tiny_cell(monkeypatch):
    """The same, of a network of two stages, for tests that train in their own process.

    TensorFlow takes seconds to make the graph of every training, and most of all else none.
    """
    tiny = {"widths": (4, 8), "blocks_per_stage": 1, "stem_stride": 2}
    monkeypatch.setitem(PRESETS, "residual_tiny", tiny)
    return partial(small_cell, model="residual_tiny")
