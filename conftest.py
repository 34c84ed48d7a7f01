"""Of all tests, those that stand beside the builders too."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _one_worker():
    """Unless a test asks for more: its dataset is built sooner than two processes have started."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tfds_builders.building.available_cores", lambda: 1)
        yield
