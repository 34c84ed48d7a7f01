"""One replica, two replicas and two workers are one and the same training, up to rounding."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_SECONDS = 300
TILE = 6


def run_processes(outs, stream_tiles, numbers_of_replicas, environments):
    """Runs one worker process a folder; kills all of them whatever happens.

    SIGKILL, to the whole group: a worker that waits for a peer swallows SIGTERM for minutes.
    """
    command = [sys.executable, "-m", "tests.training.distribution_worker"]
    processes = []
    try:
        for out, environment in zip(outs, environments, strict=True):
            out.mkdir()
            with (out / "log.txt").open("w") as log:
                processes.append(
                    subprocess.Popen(
                        [*command, str(out), stream_tiles, *map(str, numbers_of_replicas)],
                        cwd=REPOSITORY,
                        env=os.environ
                        | {"CUDA_VISIBLE_DEVICES": "-1", "TMPDIR": str(out)}
                        | {"TF_NUM_INTRAOP_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
                        | environment,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        deadline = time.monotonic() + TIMEOUT_SECONDS
        codes = [wait(process, deadline) for process in processes]
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    logs = [(out / "log.txt").read_text()[-3000:] for out in outs]
    assert codes == [0] * len(outs), "\n\n".join(logs)


def wait(process, deadline):
    try:
        return process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return "timed out"


def free_ports(count):
    """Ports of the loopback that nobody listens on; held open together so that all differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    """Results of one replica and of two mirrored ones, in one process with two logical CPUs.

    By number of replicas and voxels of a tile, 0 for none.
    """
    out = tmp_path_factory.mktemp("replicas") / "both"
    run_processes([out], f"0,{TILE}", [1, 2], [{}])
    return {
        (number, tile): dict(np.load(out / f"{number}-{tile}.npz"))
        for number in (1, 2)
        for tile in (0, TILE)
    }


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """Results of the two workers of a cluster on the loopback."""
    folder = tmp_path_factory.mktemp("workers")
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    outs = [folder / "worker0", folder / "worker1"]
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": i}} for i in range(2)]
    run_processes(outs, "0", [2], [{"TF_CONFIG": json.dumps(task)} for task in tasks])
    return [dict(np.load(out / "2-0.npz")) for out in outs]


def variables(result, moment):
    return {k.split("/", 1)[1]: v for k, v in result.items() if k.startswith(f"{moment}/")}


def assert_same_training(result, reference):
    """Equal to rounding: far closer than the training moved, in every single variable."""
    initial, final = variables(reference, "initial"), variables(reference, "final")
    np.testing.assert_allclose(result["losses"], reference["losses"], rtol=1e-4)
    assert variables(result, "final").keys() == final.keys()
    for name, value in variables(result, "final").items():
        np.testing.assert_array_equal(result[f"initial/{name}"], initial[name])
        moved = np.abs(final[name] - initial[name]).max()
        assert moved > 1e-3, f"{name} was not trained"
        np.testing.assert_allclose(value, final[name], atol=5e-3 * moved, rtol=0, err_msg=name)


def test_two_replicas_train_the_weights_of_one(replicas):
    np.testing.assert_array_equal(replicas[2, 0]["images"], replicas[1, 0]["images"])
    assert_same_training(replicas[2, 0], replicas[1, 0])


def test_two_replicas_in_tiles_train_the_weights_of_one(replicas):
    assert_same_training(replicas[2, TILE], replicas[1, TILE])


def test_two_workers_end_with_the_same_bits(workers):
    first, second = (variables(worker, "final") for worker in workers)
    assert first.keys() == second.keys()
    assert len(first) > 10
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def test_two_workers_train_the_weights_of_one_replica(workers, replicas):
    together = np.concatenate([worker["images"] for worker in workers], axis=1)
    np.testing.assert_array_equal(together, replicas[1, 0]["images"])
    assert_same_training(workers[0], replicas[1, 0])
