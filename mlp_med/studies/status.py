"""The state of a study's cells, as a table for the terminal."""

from collections import Counter

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mlp_med.ledger.read import CellRecord, StudyRecord

STATES = ("planned", "running", "done", "failed", "infeasible")


def status_table(record: StudyRecord) -> Group:
    """One row an arm with its cells by state, then every failure with its kind and message."""
    tags = record.tags
    phantom = ", PHANTOM" if tags.get("phantom") == "true" else ""
    title = f"{record.name} ({tags.get('size')}, {tags.get('dataset')}{phantom})"
    table = Table(title=f"{title}, run {record.run_id}", title_justify="left")
    table.add_column("arm")
    for state in STATES:
        table.add_column(state, justify="right")
    table.add_column("runs that are done", overflow="fold")
    for arm in dict.fromkeys(cell.arm for cell in record.cells):
        cells = [cell for cell in record.cells if cell.arm == arm]
        counts = Counter(str(cell.state) for cell in cells)
        runs = " ".join(cell.run_id for cell in cells if cell.state == "done")
        table.add_row(Text(arm), *[str(counts[state]) for state in STATES], runs)
    failures = [cell for cell in record.cells if cell.failure and cell.state != "done"]
    return Group(table, *[_failure(cell) for cell in failures])


def _failure(cell: CellRecord) -> Text:
    assert cell.failure is not None
    seed = cell.params.get("seed")
    return Text(
        f"{cell.state} {cell.arm}, seed {seed} (run {cell.run_id}): "
        f"{cell.failure.kind}: {cell.failure.message}",
        style="red",
    )
