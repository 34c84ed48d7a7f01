"""Joins a Ray cluster and looks at its nodes before a study runs on them."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit

from mlp_med.errors import StudyError
from mlp_med.ledger.store import SQLITE_PREFIX, Ledger
from mlp_med.studies.launchers.ray_supervisor import NodeFacts, inspect_node, require_alike
from mlp_med.studies.room import Machine
from mlp_med.studies.study import DatasetInfo

SECONDS_TO_INSPECT = 120.0
DEFAULT_PORTS = {"http": 80, "https": 443}


@contextmanager
def joined(address: str | None = None) -> Iterator[None]:
    """Joins the cluster that this machine is a node of, and leaves it at the end.

    A token (RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH) is read by Ray itself,
    here as on the nodes.

    Args:
        address: HOST:PORT of the head; RAY_ADDRESS, or the cluster of this machine, if None.

    Raises:
        StudyError: Ray is not installed, or there is no such cluster.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    where = address or os.environ.get("RAY_ADDRESS") or "auto"
    if "://" in where:
        raise StudyError(
            f"expected HOST:PORT of the head of a Ray cluster, got {where!r}; run the command on "
            "a node of the cluster: Ray's client protocol is not used"
        )
    try:
        import ray
    except ImportError as error:
        raise StudyError(
            "the launcher ray needs Ray, which is not installed; install it with: "
            "pip install 'mlp-med[ray]'"
        ) from error
    try:
        ray.init(
            address=where,
            namespace="mlp_med",
            configure_logging=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StudyError(
            f"no Ray cluster can be joined at {where}: {reason}; start one with 'ray start --head' "
            "here and 'ray start --address HOST:PORT' on the other machines, with the same token "
            "(RAY_AUTH_MODE=token, RAY_AUTH_TOKEN) as this command has"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def machines() -> list[Machine]:
    """The nodes that are alive, with what `ray start` was told or found that they have."""
    import ray

    return [
        Machine(
            name=node["NodeManagerAddress"],
            cores=int(node["Resources"].get("CPU", 0)),
            memory_bytes=int(node["Resources"].get("memory", 0)),
            total_memory_bytes=int(node["Resources"].get("memory", 0)),
            most_cells=_most_cells(node["Resources"]),
            num_gpus=int(node["Resources"].get("GPU", 0)),
            key=node["NodeID"],
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def _most_cells(resources: dict[str, float]) -> int | None:
    """None is cores and memory's to say; a node without CPUs, as some heads are, takes no cell."""
    if not resources.get("CPU"):
        return 0
    return int(resources["GPU"]) if resources.get("GPU") else None


def on_node(function: Any, key: str, **options: Any) -> Any:
    """The function as a Ray task of just this node, which Ray never retries by itself."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return _tried_once(function, NodeAffinitySchedulingStrategy(key, soft=False), options)


def in_bundle(function: Any, group: Any, number: int, **options: Any) -> Any:
    """The function as a Ray task in a bundle of a placement group; Ray never retries it."""
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number)
    return _tried_once(function, where, options)


def _tried_once(function: Any, where: Any, options: dict[str, Any]) -> Any:
    import ray

    # With retries of its own, Ray would start a task again that was killed for want of memory,
    # without end (task_oom_retries), and one whose supervisor crashed as if its node were lost.
    return ray.remote(function).options(max_retries=0, scheduling_strategy=where, **options)


def require_usable_nodes(
    info: DatasetInfo, ledger: Ledger, shared: Path | None = None
) -> list[Machine]:
    """Looks at every node: code, data directory, way to the ledger.

    Args:
        info: of the dataset.
        ledger: of the study.
        shared: directory that must be one and the same everywhere, as workers of one cell need it;
            made if it is not there. None where cells have one worker.

    Returns:
        The nodes.

    Raises:
        StudyError: a node lacks what every node must have or share.
    """
    uri = urlsplit(ledger.tracking_uri)
    database = ledger.tracking_uri.removeprefix(SQLITE_PREFIX) if uri.scheme == "sqlite" else None
    server = None
    if uri.scheme in DEFAULT_PORTS and uri.hostname:
        server = (uri.hostname, uri.port or DEFAULT_PORTS[uri.scheme])
    nodes = machines()
    if not any(node.cores for node in nodes):
        raise StudyError("no node of the Ray cluster has CPUs to run a cell on")
    with _sign_in(shared) as sign:
        _require_alike(nodes, (info.name, info.data_dir, database, server, sign))
    return nodes


@contextmanager
def _sign_in(directory: Path | None) -> Iterator[str | None]:
    """A file that only who shares the directory can see."""
    if directory is None:
        yield None
        return
    directory.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(prefix="shared-", dir=directory) as file:
        yield file.name


def _require_alike(nodes: Sequence[Machine], asked: tuple[Any, ...]) -> None:
    import ray

    here = inspect_node(*asked)
    facts = {node: on_node(inspect_node, node.key, num_cpus=0).remote(*asked) for node in nodes}
    for node, asked_of_it in facts.items():
        try:
            there: NodeFacts = ray.get(asked_of_it, timeout=SECONDS_TO_INSPECT)
        except ray.exceptions.RayError as error:
            raise StudyError(
                f"node {node.name} cannot run cells: {_last_line(error)}; install the same commit "
                "of mlp_med in the Python environment in which 'ray start' is called there"
            ) from error
        _, data_dir, *_ = asked
        require_alike(here, there, node.name, data_dir)


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
