"""The launcher that runs nothing: what would run, where, and for how long."""

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlp_med.capacity.amounts import show_bytes
from mlp_med.studies.cell import Cell
from mlp_med.studies.room import Machine, Needs, first_with_room, why_infeasible
from mlp_med.studies.study import Study


@dataclass(frozen=True)
class Placement:
    """A cell's place in a schedule.

    Attributes:
        cell: what runs.
        needs: what it takes.
        machine: where.
        starts: seconds after the study's start.
        seconds: that it takes.
    """

    cell: Cell
    needs: Needs
    machine: Machine
    starts: float
    seconds: float

    @property
    def ends(self) -> float:
        """Seconds after the study's start."""
        return self.starts + self.seconds


def schedule(
    cells: Sequence[Cell],
    needs: Mapping[Cell, Needs],
    seconds: Mapping[Cell, float],
    machines: Sequence[Machine],
) -> list[Placement]:
    """Places cells in time by the rule that the launchers place them by, in order of their start.

    Args:
        cells: in the order of the study.
        needs: of each.
        seconds: that each takes.
        machines: with room for a cell on at least one of them.
    """
    waiting = list(cells)
    running: list[tuple[float, int, Placement]] = []  # by their ends; the number breaks ties
    placed: list[Placement] = []
    number = itertools.count()
    now = 0.0
    while waiting:
        for cell in list(waiting):
            taken = [(each.machine.key, each.needs) for _, _, each in running]
            machine = first_with_room(machines, needs[cell], taken)
            if machine is not None:
                waiting.remove(cell)
                placed.append(Placement(cell, needs[cell], machine, now, seconds[cell]))
                heapq.heappush(running, (placed[-1].ends, next(number), placed[-1]))
        if running:
            now = heapq.heappop(running)[0]
    return placed


def dry_run_lines(
    study: Study,
    pending: Sequence[Cell],
    needs: Mapping[Cell, Needs],
    seconds: Mapping[Cell, float],
    machines: Sequence[Machine],
    origin: str,
) -> list[str]:
    """Lines for a person.

    Args:
        study: the plan.
        pending: its cells that would run.
        needs: of each.
        seconds: that each takes.
        machines: where they would run.
        origin: what the seconds come from.
    """
    phantom = " (PHANTOM)" if study.dataset_info.phantom else ""
    lines = [f"dry run of {study.name}, size {study.size}, on {study.dataset_info.name}{phantom}:"]
    lines += [_about(machine) for machine in machines]
    num_done = len(study.cells) - len(pending)
    infeasible = {cell: why for cell in pending if (why := why_infeasible(machines, needs[cell]))}
    lines += [
        f"  infeasible: {study.arm_of(cell)}, seed {cell.seed}: {why}"
        for cell, why in infeasible.items()
    ]
    possible = [cell for cell in pending if cell not in infeasible]
    lines += [f"{len(possible)} cells would run" + (f", {num_done} ended before" * bool(num_done))]
    placed = schedule(possible, needs, seconds, machines)
    for each in placed:
        threads = f"{each.needs.threads} thread" + "s" * (each.needs.threads > 1)
        memory = show_bytes(each.needs.memory_bytes) if each.needs.memory_bytes else "unknown"
        lines.append(
            f"  at {_minutes(each.starts)} for {_minutes(each.seconds)} on {each.machine.name}, "
            f"{threads}, {memory}: {study.arm_of(each.cell)}, seed {each.cell.seed}"
            + (f", fold {each.cell.fold}" if each.cell.fold >= 0 else "")
        )
    end = max((each.ends for each in placed), default=0.0)
    lines.append(f"all would be done after about {_minutes(end)}, {origin}")
    return [*lines, "nothing was trained, and nothing written"]


def _about(machine: Machine) -> str:
    text = f"  {machine.name}: {machine.cores} cores, {show_bytes(machine.memory_bytes)} of memory"
    text += f", {machine.num_gpus} GPUs" if machine.num_gpus else ""
    return text + (
        f", at most {machine.most_cells} cells at once" if machine.most_cells is not None else ""
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
