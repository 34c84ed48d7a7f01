"""A worker on another machine than the chief: waits for posts and trains its part of each.

It runs no TensorFlow itself, so that it hears every signal; the process that trains is ended by
SIGKILL as soon as another attempt is posted, or when the chief's supervisor has fallen silent.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlp_med.studies import cell_process
from mlp_med.studies.cluster import Cluster, cluster_from_environment
from mlp_med.studies.mailbox import Mailbox, mailbox_of, order_from
from mlp_med.studies.orders import Failed, Order, SendProgress
from mlp_med.studies.provenance import code_digest
from mlp_med.studies.work import train_and_log
from mlp_med.studies.worker_group import end_processes, start_worker, wait_for_word

SILENCE_SECONDS = 120.0  # of the chief's supervisor, after which its group is given up


def follow_in_order(order: Order, send: SendProgress) -> None:
    """The work of a process that a launcher has started for a worker that is not the chief.

    It follows the chief of the cluster that TF_CONFIG names, until it is ended.
    """
    cluster = cluster_from_environment()
    assert cluster is not None  # the launcher has told of it
    follow(cluster, mailbox_of(Path(order.checkpoint_dir).parent, cluster), lambda line: None)


def follow(
    cluster: Cluster,
    mailbox: Mailbox,
    say: Callable[[str], None],
    *,
    silence_seconds: float = SILENCE_SECONDS,
) -> None:
    """Trains this worker's part of every cell that is posted, until the chief has no more.

    Args:
        cluster: whose worker this is; not its chief.
        mailbox: the cluster's.
        say: told of each cell that begins or ends in failure.
        silence_seconds: see `SILENCE_SECONDS`.
    """
    begun = ""
    jobs: list[cell_process.CellProcess] = []
    heard = mailbox.read()  # perhaps of a study long ago: only what changes from now on counts
    heard_at = time.monotonic()
    try:
        while True:
            post = mailbox.read()
            if post and post != heard:
                heard, heard_at = post, time.monotonic()
                if post.get("closed"):
                    return
                if post["attempt"] != begun:
                    end_processes(jobs)
                    begun = post["attempt"]
                    jobs = _begin(cluster, mailbox, post, say) if "order" in post else []
            if jobs and time.monotonic() - heard_at > silence_seconds:
                say("the chief has fallen silent; waiting for another post")
                end_processes(jobs)
                jobs = []
            jobs = [job for job in jobs if not _has_ended(job, cluster, mailbox, begun, say)]
            if jobs:
                wait_for_word(jobs)
            else:
                time.sleep(cell_process.POLL_SECONDS)
    finally:
        end_processes(jobs)


def _begin(
    cluster: Cluster, mailbox: Mailbox, post: Mapping[str, Any], say: Callable[[str], None]
) -> list[cell_process.CellProcess]:
    order = order_from(post["order"])
    code = code_digest(order.cell.dataset)
    if code != post["code"]:
        message = f"expected the chief's code, {post['code']}, got {code}; install the same commit"
        mailbox.answer(post["attempt"], cluster.index, Failed("unequal_code", message))
        say(message)
        return []
    say(f"worker {cluster.index} of {cluster.size}: cell {order.cell.hash}")
    return [start_worker(order, train_and_log, cluster.addresses, cluster.index)]


def _has_ended(
    job: cell_process.CellProcess,
    cluster: Cluster,
    mailbox: Mailbox,
    attempt: str,
    say: Callable[[str], None],
) -> bool:
    """Whether the process is gone; the chief is then told why."""
    has_ended = job.process.exitcode is not None  # before its last words are heard
    cell_process.drain(job, lambda order, event: None)
    if not has_ended:
        return False
    outcome = cell_process.outcome_of(job)
    failed = outcome if isinstance(outcome, Failed) else Failed("died", "ended before the chief")
    mailbox.answer(attempt, cluster.index, failed)
    say(f"{failed.kind}: {failed.message}")
    end_processes([job])
    return True
