"""Pages, figures and verdicts: pure functions of the ledger."""
