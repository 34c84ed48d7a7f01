from tests.ledger.conftest import blank_database  # noqa: F401
