import pytest

from tests.ledger.conftest import blank_database, ledger  # noqa: F401
from tests.studies.cells import small_cell


@pytest.fixture
def make_cell():
    return small_cell
