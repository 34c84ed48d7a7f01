"""Places for the workers of one cell on a Ray cluster, which Ray finds: a placement group.

A bundle a worker has its threads, its share of the memory plan and, where the cluster has one for
each worker, a GPU. Ray gives all the bundles or none of them: on one node if it can hold them,
else on several ("PACK").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlp_med.errors import StudyError
from mlp_med.studies.cluster import free_ports
from mlp_med.studies.launchers.ray_cluster import in_bundle, machines
from mlp_med.studies.room import Machine, Needs

ON_ALL_ADDRESSES = ""  # as TensorFlow's workers listen


@dataclass(frozen=True)
class Place:
    """Where a worker will run.

    Attributes:
        machine: the node.
        port: of it, that nobody listens on.
    """

    machine: Machine
    port: int

    @property
    def address(self) -> str:
        """For the other workers."""
        return f"{self.machine.name}:{self.port}"


class Placement:
    """A placement group that is asked for, and perhaps not to be had yet."""

    def __init__(self, needs: Needs, nodes: Sequence[Machine]):
        """Asks Ray for it.

        Args:
            needs: of all workers.
            nodes: of the cluster; one of them at least.
        """
        import ray.util

        self._bundle = bundle_of(needs, nodes)
        self._group = ray.util.placement_group(
            [self._bundle] * needs.num_workers, strategy="PACK", name="workers of a cell"
        )
        # A task in a bundle waits until Ray has placed the whole group.
        self._ports = [
            in_bundle(free_ports, self._group, number, num_cpus=0).remote(1, ON_ALL_ADDRESSES)
            for number in range(needs.num_workers)
        ]

    def places(self) -> list[Place] | None:
        """One for each worker; None while Ray has not found them all.

        Raises:
            LookupError: they were lost again, as with a node: ask anew.
            StudyError: a node cannot run cells.
        """
        import ray
        import ray.util

        ready, waiting = ray.wait(self._ports, num_returns=len(self._ports), timeout=0)
        try:
            found = ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            raise StudyError(f"a node cannot run cells: {error}") from error
        except ray.exceptions.RayError as error:
            raise LookupError(str(error)) from error
        if waiting:
            return None
        ports = [port for (port,) in found]
        if len(set(ports)) < len(ports):  # their nodes may be of one machine
            raise LookupError("two workers found the same port")
        nodes = {node.key: node for node in machines()}
        keys = ray.util.placement_group_table(self._group)["bundles_to_node_id"]
        return [Place(nodes[keys[number]], port) for number, port in enumerate(ports)]

    def task(self, function: Any, number: int, **options: Any) -> Any:
        """The function as a Ray task in the place of a worker, with all that is there."""
        return in_bundle(
            function,
            self._group,
            number,
            num_cpus=self._bundle["CPU"],
            num_gpus=self._bundle.get("GPU", 0),
            memory=self._bundle.get("memory"),
            **options,
        )

    def remove(self) -> None:
        """Gives the places back; Ray ends what still runs there."""
        import ray.util

        if ray.is_initialized():  # else the cluster has done so
            ray.util.remove_placement_group(self._group)


def bundle_of(needs: Needs, nodes: Sequence[Machine]) -> dict[str, float]:
    """What Ray is asked for each worker: a node at least has that much.

    Args:
        needs: of all workers.
        nodes: of the cluster; one of them at least.
    """
    one, roomiest = needs.of_one_worker, max(nodes, key=lambda node: node.memory_bytes)
    bundle: dict[str, float] = {"CPU": min(one.threads, roomiest.cores)}
    if one.memory_bytes:  # the plan may err: what does not fit ends with a failure of its own
        bundle["memory"] = min(one.memory_bytes, roomiest.memory_bytes)
    if sum(node.num_gpus for node in nodes) >= needs.num_workers:
        bundle["GPU"] = 1
    return bundle


def can_hold(nodes: Sequence[Machine], needs: Needs) -> bool:
    """Whether the nodes, were they idle, have places for all workers of a cell."""
    bundle = bundle_of(needs, nodes)
    return sum(_most_bundles(node, bundle) for node in nodes) >= needs.num_workers


def _most_bundles(node: Machine, bundle: dict[str, float]) -> int:
    has = {"CPU": node.cores, "memory": node.memory_bytes, "GPU": node.num_gpus}
    return min(int(has[name] // amount) for name, amount in bundle.items() if amount)
