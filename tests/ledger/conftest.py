import pytest

from tests.ledger.copying import copied


@pytest.fixture
def ledger(blank_database, tmp_path):
    directory = tmp_path / "a ledger"  # a space is what users have in their paths
    directory.mkdir()
    return copied(blank_database, directory)
