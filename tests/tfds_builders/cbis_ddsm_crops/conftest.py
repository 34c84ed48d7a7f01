from pathlib import Path

import pytest

from tests.tfds_builders.cbis_ddsm_crops.drawn_release import draw_release


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole drawn release; tests must leave it as it is."""
    return draw_release(tmp_path_factory.mktemp("cbis_ddsm") / "release")
