"""Room on machines: what a cell takes of one, and whether there is place beside those that run."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlp_med.capacity.amounts import show_bytes

# The memory plan was measured to lie within 10 % of the peak.
PLAN_MAY_ERR = 0.1


@dataclass(frozen=True)
class Needs:
    """What a cell takes while it runs.

    Attributes:
        threads: of one operation, as the cell's hash states them; those of all its workers.
        memory_bytes: the peak of its processes by the memory plan; 0 where that knows none.
        num_workers: processes that train the cell together, in equal shares of the above.
    """

    threads: int
    memory_bytes: int = 0
    num_workers: int = 1

    @property
    def of_one_worker(self) -> "Needs":
        """The share of each."""
        return Needs(self.threads // self.num_workers, self.memory_bytes // self.num_workers)


@dataclass(frozen=True)
class Machine:
    """What a machine offers to cells.

    Attributes:
        name: for people.
        cores: that may be kept busy.
        memory_bytes: that may be taken.
        total_memory_bytes: that it has, were nothing else running; 0 where that is not known.
        most_cells: at once, whatever the rest allows; None for no such limit.
        num_gpus: that it has; a cell trains on one of them, or on all.
        key: what the launcher calls it.
    """

    name: str
    cores: int
    memory_bytes: int
    most_cells: int | None = None
    num_gpus: int = 0
    key: str = ""
    total_memory_bytes: int = 0


def has_room(machine: Machine, needs: Needs, taken: Sequence[Needs]) -> bool:
    """Whether a cell may start on a machine beside those that run there.

    A cell that needs more than is free runs there alone: the plan may err, and what does not fit
    ends with a kind of failure of its own. What no machine can hold is not started at all: see
    `why_infeasible`.
    """
    if not taken:
        return machine.most_cells != 0
    if machine.most_cells is not None and len(taken) >= machine.most_cells:
        return False
    threads = needs.threads + sum(each.threads for each in taken)
    memory = needs.memory_bytes + sum(each.memory_bytes for each in taken)
    return threads <= machine.cores and memory <= machine.memory_bytes


def why_infeasible(machines: Sequence[Machine], needs: Needs) -> str:
    """Why a cell cannot run on any of the machines, even empty and if the plan errs; "" if it can.

    Args:
        machines: all that there are. The memory plan is of processors' memory, not of GPUs'.
        needs: of a cell that runs on one of them.
    """
    unknown = any(not machine.total_memory_bytes or machine.num_gpus for machine in machines)
    if unknown or not machines:
        return ""
    largest = max(machine.total_memory_bytes for machine in machines)
    if needs.memory_bytes * (1 - PLAN_MAY_ERR) <= largest:
        return ""
    where = machines[0].name if len(machines) == 1 else "the largest machine"
    return (
        f"needs {show_bytes(needs.memory_bytes)} by the memory plan, and {where} has "
        f"{show_bytes(largest)}: not started; `mlp-med plan` names what would make it fit, and "
        "--retry-failed tries it again, on a larger machine"
    )


def first_with_room(
    machines: Sequence[Machine], needs: Needs, taken: Sequence[tuple[str, Needs]]
) -> Machine | None:
    """The machine with the fewest cells among those that have room; None where none has.

    Args:
        machines: by their keys.
        needs: of the cell.
        taken: by the cells that run: the machine's key, and what they take.
    """
    beside = {m.key: [each for key, each in taken if key == m.key] for m in machines}
    free = [m for m in machines if has_room(m, needs, beside[m.key])]
    # A cell larger than a machine goes to the largest, where it has the best chance.
    return min(
        free,
        key=lambda m: (needs.memory_bytes > m.memory_bytes, len(beside[m.key]), -m.memory_bytes),
        default=None,
    )
