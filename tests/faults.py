"""Faults that tests inject on purpose, and the table of what came of them (`make faults`).

A test of a fault says so with `@fault(...)`: which fault, what the user sees, what is lost, and
how it goes on. Those are claims; the test is what holds them to be true.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

MARKER = "fault"
# Every fault that the suite must survive; a table without one of them is not whole.
FAULTS = (
    "SIGKILL of a cell",
    "SIGKILL of a sweep",
    "SIGKILL of a Ray node",
    "SIGKILL of a worker",
    "SIGKILL of the tracking server",
    "disk full at building",
    "disk full at logging",
    "disk full at a checkpoint",
    "corrupted record file",
    "corrupted checkpoint",
    "corrupted predictions file",
    "clock going backwards",
    "ledger of a newer schema",
    "out-of-memory kill of a cell",
)
HEADER = ("fault", "what the user sees", "what is lost", "how it goes on", "tests", "result")


def fault(name: str, *, sees: str, lost: str, goes_on: str) -> pytest.MarkDecorator:
    """Marks a test that injects the fault `name`, one of FAULTS."""
    if name not in FAULTS:
        raise ValueError(f"expected one of {FAULTS}, got {name!r}")
    return pytest.mark.fault(name, sees=sees, lost=lost, goes_on=goes_on)


@dataclass
class Row:
    """A fault, as the first of its tests tells it, with how all of them ended."""

    name: str
    sees: str = ""
    lost: str = ""
    goes_on: str = ""
    outcomes: dict[str, str] = field(default_factory=dict)

    @property
    def result(self) -> str:
        found = set(self.outcomes.values())
        if not found:
            return "no test"
        if "failed" in found:
            return "FAILED"
        return "passed" if "passed" in found else "skipped"

    def cells(self) -> tuple[str, ...]:
        number = str(len(self.outcomes))
        return (self.name, self.sees, self.lost, self.goes_on, number, self.result)


class FaultTable:
    """Collects what marked tests say and how they end; a pytest plugin.

    What a test says travels with its report, since under xdist tests run in other processes.
    """

    def __init__(self, path: Path | None):
        self._path = path
        self._rows = {name: Row(name) for name in FAULTS}

    def pytest_collection_modifyitems(self, items: Iterable[pytest.Item]) -> None:
        for item in items:
            for marker in item.iter_markers(MARKER):
                said = asdict(Row(marker.args[0], **marker.kwargs))
                item.user_properties.append((MARKER, said))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, said in report.user_properties:
            if name != MARKER or (report.when != "call" and report.outcome == "passed"):
                continue
            row = self._rows[said["name"]]
            if not row.sees:
                row.sees, row.lost, row.goes_on = said["sees"], said["lost"], said["goes_on"]
            row.outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Where a table is asked for, a fault that no test injects fails the run."""
        if self._path is None or hasattr(session.config, "workerinput"):
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(to_markdown(self._rows.values()))
        if session.exitstatus == pytest.ExitCode.OK and self._missing():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter) -> None:
        if self._path is None:
            return
        terminalreporter.write_sep("=", "faults")
        for row in self._rows.values():
            terminalreporter.write_line(f"{row.result:8} {row.name} ({len(row.outcomes)} tests)")
        if missing := self._missing():
            terminalreporter.write_line(f"no test injects: {', '.join(missing)}")
        terminalreporter.write_line(str(self._path))

    def _missing(self) -> list[str]:
        return [row.name for row in self._rows.values() if row.result == "no test"]


def to_markdown(rows: Iterable[Row]) -> str:
    """The table, ready for a README."""
    lines = [HEADER, ("---",) * len(HEADER), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
