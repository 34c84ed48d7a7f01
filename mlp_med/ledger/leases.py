"""Who runs which cell: leases, so that sweeps of one study on one ledger share its cells.

MLflow's tracking server has no compare-and-set, no server time and no lock. But a run's **param**
is written once: its primary key is (run, name), and the database refuses a second value, over HTTP
as in a local SQLite file. That refusal decides here. The n-th lease of a cell is the param
`<cell hash>.<n>` with its holder as the value, of a run that the study keeps for its leases: of any
number of sweeps that write it one succeeds, and to write it again after a lost answer does no harm.
Lease n + 1 may be taken when lease n is released, also a param, or its holder is gone. Nothing is
ever deleted, so that there is no moment at which two can both see a cell as free.

**Expiry needs no clock that two machines share**, and none that people set. A holder renews all its
leases by one tag whose value it counts up. An observer that has seen that value unchanged for
`LEASE_SECONDS` of its *own monotonic clock*, while the ledger answered all along, takes the holder
for gone. Wall clocks may go backwards; a ledger that was away for an hour expires nothing. A holder
on the observer's own machine is asked for directly: its process is there or not.

A holder that was only silent (stopped, cut off) learns at its next renewal that a later lease
exists and ends the cell; until then the cell may run twice, which cannot be excluded from outside.

Considered and not taken: registered models, whose names are unique too, but which would fill the
registry with things that are no models; MLflow's `start_time`, which is the client's; a lock file,
which no other machine sees.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlp_med.errors import LedgerError
from mlp_med.ledger import names
from mlp_med.ledger.store import Ledger, ledger_errors
from mlp_med.ledger.write_once import log_once

LEASE_SECONDS = 120.0
RENEWALS_A_LEASE = 6
ENDED = "ended"


@dataclass
class _Holder:
    """What is known of another sweep: its last count, and since when it has not changed."""

    beat: str
    unchanged_since: float
    machine: str = ""
    process: tuple[int, str] = (0, "")


@dataclass
class _Known:
    """What was read so far. It only grows, so that an answer that comes late does no harm."""

    latest: dict[str, tuple[int, str]] = field(default_factory=dict)  # cell: lease, holder
    released: set[tuple[str, int]] = field(default_factory=set)

    def add(self, cell_hash: str, number: int, holder: str) -> None:
        if number > self.latest.get(cell_hash, (0, ""))[0]:
            self.latest[cell_hash] = (number, holder)


class Leases:
    """The leases of one study, as one sweep holds and sees them.

    One thread takes and releases, another may renew. No lock is held while the ledger is asked, so
    that a server that is away does not stop what trains.
    """

    def __init__(
        self,
        ledger: Ledger,
        study_run_id: str,
        *,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.holder = f"{socket.gethostname()[:40]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.lease_seconds = lease_seconds
        self._ledger, self._clock, self._machine = ledger, clock, _machine()
        self._run_id = _leases_run(ledger, study_run_id)
        self._held: dict[str, int] = {}
        self._untold: list[tuple[str, int]] = []  # released here, not yet in the ledger
        self._seen = _Known()
        self._holders: dict[str, _Holder] = {}
        self._refreshed: float | None = None
        self._count = 0
        self._lock = threading.RLock()
        self.renew()

    def take(self, cell_hash: str) -> int | None:
        """Takes the cell's next lease.

        Returns:
            The lease's number, from 1; None where another sweep holds the cell.

        Raises:
            LedgerError: the ledger cannot be read or written.
        """
        with self._lock:
            last, _ = self._seen.latest.get(cell_hash, (0, ""))
            if last and self.is_live(cell_hash, last):
                return None
        number = last + 1
        if self._log_once(f"{cell_hash}.{number}", self.holder) != self.holder:
            self.refresh()  # another was quicker
            return None
        with self._lock:
            self._seen.add(cell_hash, number, self.holder)
            self._held[cell_hash] = number
        return number

    def release(self, cell_hash: str) -> None:
        """Gives the cell back, whatever came of it; nothing where it is not held.

        If the ledger is away it is told at the next renewal: nothing waits for that here.
        """
        with self._lock:
            number = self._held.pop(cell_hash, None)
            if number is None:
                return
            self._seen.released.add((cell_hash, number))
            self._untold.append((cell_hash, number))
        with suppress(LedgerError):
            self._tell_released()

    def is_live(self, cell_hash: str, number: int) -> bool:
        """Whether that lease is the cell's last, not released, and its holder not gone.

        It is as this sweep last read it; a lease later than that is live, and number 0 is none.
        """
        with self._lock:
            last, holder = self._seen.latest.get(cell_hash, (0, ""))
            if number > last:
                return True
            if number < last or number == 0 or (cell_hash, number) in self._seen.released:
                return False
            return holder == self.holder or not self._is_gone(holder)

    def was_given_up(self, cell_hash: str) -> bool:
        """Whether the last lease was not released: its holder may have finished the cell since."""
        with self._lock:
            number, _ = self._seen.latest.get(cell_hash, (0, ""))
            return number > 0 and (cell_hash, number) not in self._seen.released

    def is_lost(self, cell_hash: str) -> bool:
        """Whether a cell held here was taken over, since this sweep was silent for too long."""
        with self._lock:
            number, holder = self._seen.latest.get(cell_hash, (0, ""))
            return cell_hash in self._held and (number, holder) != (
                self._held[cell_hash],
                self.holder,
            )

    def others(self) -> list[str]:
        """The cells that other sweeps hold."""
        with self._lock:
            return [
                cell
                for cell, (number, holder) in self._seen.latest.items()
                if holder != self.holder and self.is_live(cell, number)
            ]

    def renew(self) -> None:
        """Counts on, and reads what the others did.

        Raises:
            LedgerError: the ledger cannot be read or written.
        """
        self._count += 1
        self._set_tag(str(self._count))
        self._tell_released()
        self.refresh()

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renews in the background; at the end everything held is released.

        A ledger that does not answer is asked again at the next renewal: what trains goes on.
        """
        ended = threading.Event()

        def keep_renewing() -> None:
            while not ended.wait(self.lease_seconds / RENEWALS_A_LEASE):
                try:
                    self.renew()
                except LedgerError:
                    continue

        thread = threading.Thread(target=keep_renewing, name="leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(self.lease_seconds)
            for cell_hash in list(self._held):
                self.release(cell_hash)
            with suppress(LedgerError):  # away: then the others wait for the lease's end
                self._ledger.require_answer()
                self._tell_released()
                self._set_tag(ENDED)

    def refresh(self) -> None:
        """Reads every lease and every holder's count."""
        with ledger_errors("reading the leases of a study"):
            data = self._ledger.client.get_run(self._run_id).data
        with self._lock:
            for name, value in data.params.items():
                cell_hash, number, *released = name.split(".")
                if released:
                    self._seen.released.add((cell_hash, int(number)))
                else:
                    self._seen.add(cell_hash, int(number), value)
            self._observe(data.tags)

    def _tell_released(self) -> None:
        if self._untold:
            self._ledger.require_answer()
        for cell_hash, number in list(self._untold):
            self._log_once(f"{cell_hash}.{number}.released", self.holder)
            with self._lock, suppress(ValueError):  # the other thread was quicker
                self._untold.remove((cell_hash, number))

    def _observe(self, tags: dict[str, str]) -> None:
        now = self._clock()
        # Through a gap in what was seen, nobody's silence can be told from the ledger's.
        gap = self._refreshed is None or now - self._refreshed > self.lease_seconds / 2
        self._refreshed = now
        for name, value in tags.items():
            if not name.startswith(names.HOLDER_PREFIX):
                continue
            told = json.loads(value)
            holder, beat = name.removeprefix(names.HOLDER_PREFIX), str(told["beat"])
            known = self._holders.get(holder)
            if known is None or gap or known.beat != beat:
                process = (int(told["pid"]), str(told["started"]))
                self._holders[holder] = _Holder(beat, now, told["machine"], process)

    def _is_gone(self, name: str) -> bool:
        holder = self._holders.get(name)
        if holder is None:  # it took its lease after what was last read
            return False
        if holder.beat == ENDED:
            return True
        if holder.machine and holder.machine == self._machine:
            pid, started = holder.process
            return _start_of(pid) != started
        return self._clock() - holder.unchanged_since > self.lease_seconds

    def _set_tag(self, beat: str) -> None:
        pid = os.getpid()
        told = {"beat": beat, "machine": self._machine, "pid": pid, "started": _start_of(pid)}
        with ledger_errors("renewing the leases of a study"):
            self._ledger.client.set_tag(
                self._run_id, f"{names.HOLDER_PREFIX}{self.holder}", json.dumps(told)
            )

    def _log_once(self, name: str, value: str) -> str:
        return log_once(self._ledger, self._run_id, name, value)


def _leases_run(ledger: Ledger, study_run_id: str) -> str:
    """The run that keeps the study's leases, made once: which one is a param of the study's run."""
    with ledger_errors(f"looking for the leases of the study {study_run_id}"):
        study = ledger.client.get_run(study_run_id)
        if names.LEASES_RUN in study.data.params:
            return study.data.params[names.LEASES_RUN]
        tags = {names.KIND: "leases", names.NOTE: f"which sweep runs which cell of {study_run_id}"}
        made = ledger.client.create_run(
            study.info.experiment_id, tags=tags, run_name=f"leases of {study.info.run_name}"
        ).info.run_id
        ledger.client.set_terminated(made)
    settled = log_once(ledger, study_run_id, names.LEASES_RUN, made)
    if settled != made:
        with ledger_errors(f"deleting the run {made}"):
            ledger.client.delete_run(made)
    return settled


def _machine() -> str:
    """This boot of this machine, and the name space of its process ids; "" where not Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """When the process began, in ticks since the boot: with its id it is no other; "" if gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if stat[0] in ("Z", "X") else stat[19]
