"""A real Ray cluster of three nodes: what runs there is what runs here, and a node is lost."""

import functools
import importlib.util
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from experiments import resolution_matters
from experiments.sizes import SIZES
from mlp_med.cli.datasets import build_dataset
from mlp_med.ledger.read import load_predictions
from mlp_med.ledger.store import open_ledger
from mlp_med.studies.cell import Cell
from mlp_med.studies.launcher import Done, Failed, Job, Order, Progress, Started, launch_local
from mlp_med.studies.planning import open_dataset
from mlp_med.studies.provenance import code_digest, common_code_digest
from mlp_med.studies.room import Machine, Needs
from mlp_med.studies.run import run_study
from mlp_med.studies.study import Study
from mlp_med.studies.worker import PRELOAD
from tests.studies.launcher_work import do_as_the_seed_says
from tests.studies.ray_nodes import ray_cluster

# Looked for, not imported: Ray reads its token's environment when it is imported.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the extra ray is not installed"
)

DATASET, RESOLUTION, NUM_PATCHES, NUM_CELLS = "metastasis_patches", 7.76, 60, 6
NEEDS = Needs(threads=1, memory_bytes=1_000_000_000)
# Of the sweep or of the clock, not of what was run.
NOT_COMPARED = {"holder", "lease", "node"}


@pytest.fixture(scope="module")
def cluster():
    """The cluster, joined; the nodes by their addresses."""
    from mlp_med.studies.launchers.ray_cluster import joined

    with ray_cluster() as (head, nodes), joined(head):
        yield {node.address: node for node in nodes}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Cells of a second or two, on patches of noise whose centre tells the label."""
    source, data_dir = (tmp_path_factory.mktemp(name) for name in ("source", "tfds"))
    rng = np.random.default_rng(0)
    (source / "train").mkdir()
    lines = ["id,label"]
    for number in range(NUM_PATCHES):
        pixels = rng.normal((220, 160, 200), 25, (96, 96, 3))
        pixels[32:64, 32:64] -= 8 * (number % 2)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        image.save(source / "train" / f"{number:040x}.tif")
        lines.append(f"{number:040x},{number % 2}")
    (source / "train_labels.csv").write_text("\n".join(lines) + "\n")
    build_dataset(DATASET, source, data_dir, [RESOLUTION])
    dataset = open_dataset(DATASET, [RESOLUTION], data_dir, source)
    size = SIZES[DATASET]["smoke"]
    cells = [
        Cell(
            dataset=DATASET,
            dataset_digest=dataset.digests[RESOLUTION],
            resolution=RESOLUTION,
            grid=RESOLUTION,
            control="none",
            model="residual_small",
            depth="fixed",
            norm="batch",
            precision="float32",
            global_batch_size=8,
            accumulation_steps=1,
            recompute=False,
            stream_tile=0,
            split=1,
            tile_labels="image",
            learning_rate=1e-3,
            budget_examples=1600,
            fold=-1,
            training_fraction=1.0,
            num_evaluations=4,
            stop_at_training_loss=0.0,
            augment=True,
            intra_op_threads=1,
            scored_split="test",
            seed=seed,
        )
        for seed in range(NUM_CELLS)
    ]
    return Study(
        name="resolution_matters",
        size="smoke",
        claim=resolution_matters.claim(size, "um", phantom=False),
        cells=tuple(cells),
        arm_names={cell.hash: "7.76um" for cell in cells},
        dataset_info=dataset.info,
        code_digest=code_digest(DATASET),
        common_code_digest=common_code_digest(),
    )


def run(study, directory: Path, launch, on_event=lambda cell, event: None):
    ledger = open_ledger(f"sqlite:///{directory}/mlflow.db")
    record = run_study(
        study,
        ledger,
        launch=launch,
        needs_of=lambda cells: [NEEDS] * len(cells),
        on_event=on_event,
    )
    return ledger, record


def contents(ledger, record) -> dict[str, tuple]:
    """By cell: params, tags, metrics but those of time and memory, and the predictions' bytes."""
    return {
        cell.hash: (
            cell.arm,
            dict(cell.params),
            {name: value for name, value in cell.tags.items() if name not in NOT_COMPARED},
            {
                name: value
                for name, value in cell.metrics.items()
                if not name.startswith(("seconds", "examples_per")) and "memory" not in name
            },
            load_predictions(ledger, cell.run_id).to_json(),
            load_predictions(ledger, cell.run_id)["score"].to_numpy().tobytes(),
        )
        for cell in record.cells
    }


def ray_launch(jobs, work, on_event, is_lost=lambda order: False, preload=()):
    from mlp_med.studies.launchers.ray_launcher import RayLauncher

    RayLauncher(list(preload))(jobs, work, on_event, is_lost=is_lost)


def fates(launch, make_cell, directory, seeds):
    """How cells that do as their seeds say are told to have ended, by seed."""
    directory.mkdir()
    ends: dict[int, list] = {seed: [] for seed in seeds}

    def note(order, event):
        if isinstance(event, Done | Failed):
            ends[order.cell.seed].append(event)

    jobs = [
        Job(NEEDS, functools.partial(Order, make_cell(seed=seed), str(seed), "", str(directory), 0))
        for seed in seeds
    ]
    launch(jobs, do_as_the_seed_says, note)
    return ends


def told(ends):
    """But for the peak of memory, which is sampled."""
    return [(type(end), getattr(end, "kind", ""), getattr(end, "message", "")) for end in ends]


def test_each_way_to_end_is_told_as_on_this_machine_and_nothing_is_tried_again(
    cluster, make_cell, tmp_path
):
    local = functools.partial(launch_local, machine=Machine("here", 2, 10**11), preload=[])
    here = fates(local, make_cell, tmp_path / "local", range(5))
    there = fates(ray_launch, make_cell, tmp_path / "ray", range(5))
    assert [len(ends) for ends in there.values()] == [1] * 5
    for seed in (0, 1):
        assert told(there[seed]) == told(here[seed])
    assert [there[seed][0].kind for seed in (1, 2, 3, 4)] == [
        "non_finite_loss",
        "killed",  # the cell, as by the kernel for want of memory
        "ValueError",
        "died",
    ]
    assert "SIGKILL" in there[2][0].message
    assert "launcher_work.py" in there[3][0].message


def test_a_cell_dies_with_its_supervisor_whose_death_is_no_lost_node(cluster, make_cell, tmp_path):
    cells: list[psutil.Process] = []

    def launch(jobs, work, on_event):
        def kill_the_supervisor(order, event):
            if isinstance(event, Progress):
                pid = int((tmp_path / "ray/5.pid").read_text().split("\n")[0])
                cells.append(psutil.Process(pid))
                supervisor = next(p for p in cells[0].parents() if p.name().startswith("ray::"))
                supervisor.kill()
            on_event(order, event)

        ray_launch(jobs, work, kill_the_supervisor)

    ((end,),) = fates(launch, make_cell, tmp_path / "ray", [5]).values()
    assert end.kind == "killed"
    assert "supervisor" in end.message
    assert not psutil.wait_procs(cells, timeout=20)[1]


def test_what_ends_the_sweep_ends_the_cells(cluster, make_cell, tmp_path):
    def stop(order, event):
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fates(lambda jobs, work, _: ray_launch(jobs, work, stop), make_cell, tmp_path / "ray", [5])
    pid = int((tmp_path / "ray/5.pid").read_text().split("\n")[0])
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_with_a_node_lost_in_the_middle_the_ledger_is_that_of_one_machine(cluster, study, tmp_path):
    from mlp_med.studies.launchers.ray_cluster import require_usable_nodes

    nodes_of: dict[str, str] = {}
    ends = Counter()

    def launch(jobs, work, on_event, *, is_lost):
        def watch(order, event):
            if isinstance(event, Started):
                nodes_of[order.run_id] = event.tags["node"]
            victim = cluster["127.0.0.4"]
            is_there = nodes_of.get(order.run_id) == victim.address
            if isinstance(event, Progress) and is_there and victim.process.poll() is None:
                victim.kill()
            on_event(order, event)

        ray_launch(jobs, work, watch, is_lost, PRELOAD)

    def count(cell, event):
        if isinstance(event, Done | Failed):
            ends[getattr(event, "kind", "done")] += 1

    (tmp_path / "ray").mkdir()
    ledger = open_ledger(f"sqlite:///{tmp_path}/ray/mlflow.db")
    assert len(require_usable_nodes(study.dataset_info, ledger)) == 3
    there = run(study, tmp_path / "ray", launch, count)
    assert ends == {"done": NUM_CELLS, "lost_node": 1}
    assert set(nodes_of.values()) == set(cluster)
    runs = there[0].client.search_runs(
        [there[0].client.get_run(there[1].run_id).info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{there[1].run_id}'",
    )
    states = Counter(each.data.tags["mlp_med.state"] for each in runs)
    assert states == {"done": NUM_CELLS, "failed": 1}  # nothing twice; what was lost is told

    local = functools.partial(launch_local, machine=Machine("here", 2, 10**11), preload=PRELOAD)
    here = run(study, tmp_path / "local", local)
    assert contents(*there) == contents(*here)
    assert len(contents(*there)) == NUM_CELLS
