"""What running, planning and piloting a study share: build, open, pilot, plan, train."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlp_med.cli.app import console
from mlp_med.cli.datasets import build_dataset
from mlp_med.errors import StudyError
from mlp_med.reports.formatting import UNITS

if TYPE_CHECKING:
    from mlp_med.evidence.claim import Claim
    from mlp_med.ledger.read import StudyRecord
    from mlp_med.ledger.store import Ledger
    from mlp_med.studies.arm import Arm
    from mlp_med.studies.cell import Cell
    from mlp_med.studies.launchers import Launch
    from mlp_med.studies.orders import Event, Job, Order, Work
    from mlp_med.studies.pilot import PilotResult
    from mlp_med.studies.planning import OpenedDataset
    from mlp_med.studies.room import Needs
    from mlp_med.studies.study import Study


@dataclass(frozen=True)
class Prepared:
    """A study whose dataset is built, before a pilot has settled its learning rates."""

    name: str
    size_name: str
    size: Any  # of the experiment file; each experiment has its own
    claim: "Claim"
    arms: "Sequence[Arm]"
    dataset: "OpenedDataset"
    precision: str


def prepare(
    name: str,
    dataset: str,
    size_name: str,
    source: Path | None,
    data_dir: Path,
    options: Mapping[str, Any],
) -> Prepared:
    """Finds the experiment, builds what is missing of its dataset, and opens it.

    Args:
        name: of the experiment file.
        dataset: name of the TFDS builder.
        size_name: "smoke", "small" or "full".
        source: what to build from; None to take what is built.
        data_dir: TFDS's data directory.
        options: what the user states of scans of their own, or the task of a dataset with several.
    """
    from experiments import find_study
    from mlp_med.pipelines.datasets import describe
    from mlp_med.studies.own_process import in_process_of_its_own
    from mlp_med.studies.planning import open_dataset

    experiment = find_study(name)
    if dataset == "table" and hasattr(experiment, "sizes_for_table"):
        if source is not None:
            stated = dict(options)
            build_dataset(dataset, source, data_dir, stated.pop("resolutions", None), **stated)
        sizes = experiment.sizes_for_table(describe("table", data_dir))
    else:
        sizes = experiment.SIZES.get(dataset, {})
    size = _size_of(name, dataset, size_name, sizes)
    if source is not None and dataset != "table":
        build_dataset(dataset, source, data_dir, sorted(set(size.resolutions)), **options)
    built_with = {} if dataset == "table" else options
    opened = in_process_of_its_own(
        open_dataset, dataset, size.resolutions, data_dir, source, **built_with
    )
    info = opened.info
    size = size.on(phantom=info.phantom, num_training=info.num_cases["train"])
    return _prepared(name, size_name, size, opened)


def require_study(name: str, dataset: str, size_name: str) -> None:
    """Refuses a name that means nothing, before seconds are spent and a ledger is begun.

    Raises:
        StudyError: no such study, or no such size of it (a table's are only known when it is read).
    """
    from experiments import find_study

    experiment = find_study(name)
    if dataset != "table" or not hasattr(experiment, "sizes_for_table"):
        _size_of(name, dataset, size_name, experiment.SIZES.get(dataset, {}))


def _size_of(name: str, dataset: str, size_name: str, sizes: Mapping[str, Any]) -> Any:
    from experiments import find_study

    if size_name not in sizes:
        known = "; ".join(f"{d}: {', '.join(s)}" for d, s in find_study(name).SIZES.items())
        raise StudyError(f"{name} has no size {size_name!r} on {dataset!r}; it has {known}")
    return sizes[size_name]


def _prepared(name: str, size_name: str, size: Any, opened: "OpenedDataset") -> Prepared:
    from experiments import find_study

    experiment = find_study(name)
    described = {"unit": UNITS[opened.info.unit], "phantom": opened.info.phantom}
    return Prepared(
        name=name,
        size_name=size_name,
        size=size,
        claim=experiment.claim(size, **described, metric=opened.info.metric),
        arms=experiment.arms(size, **described),
        dataset=opened,
        precision=precision(size.model),
    )


def spread(prepared: Prepared, num_workers: int) -> Prepared:
    """The same study with every cell, the pilot's too, trained by so many workers."""
    return replace(prepared, dataset=replace(prepared.dataset, num_workers=num_workers))


def precision(model: str) -> str:
    """The Keras dtype policy of every cell with this network on this machine."""
    from mlp_med.models.presets import preset_arguments
    from mlp_med.studies.own_process import in_process_of_its_own
    from mlp_med.training.precision import default_precision

    return in_process_of_its_own(default_precision, min(preset_arguments(model)["widths"]))


def recorded_pilot(prepared: Prepared) -> "PilotResult | None":
    """The committed pilot of just this phantom, if there is one: the small one's.

    Of the same drawing, that is, whatever the processor that drew it and rounded otherwise.
    """
    from experiments import PILOTS
    from mlp_med.phantoms.release import drawing
    from mlp_med.studies.pilot_record import read_pilot

    path = PILOTS / _pilot_file(prepared)
    if not path.exists():
        return None
    found = read_pilot(path)
    drawn_by = drawing(Path(prepared.dataset.info.source))
    if not drawn_by or found.origin.get("drawing") != drawn_by:
        return None
    needed = {arm.settings_of or arm.name for arm in prepared.arms}
    return found if needed <= set(found.arms) else None


def run_pilot_cells(prepared: Prepared, run: "Callable[[Study], StudyRecord]") -> "PilotResult":
    """Runs the pilot, or what is missing of it: the study's own, or the one that it takes over."""
    from mlp_med.studies.pilot_cells import pilot_study

    piloted = _prepared(
        _pilot_of(prepared.name), prepared.size_name, prepared.size, prepared.dataset
    )
    console.print(f"pilot: a learning rate for each arm, then twice the budget ({piloted.name})")
    return pilot_study(
        name=piloted.name,
        size=piloted.size_name,
        claim=piloted.claim,
        arms=piloted.arms,
        design=piloted.size.pilot,
        dataset=prepared.dataset,
        precision=prepared.precision,
        run=run,
    )


def _pilot_of(name: str) -> str:
    """The study whose pilot holds for the study `name`: its own, unless it says otherwise."""
    from experiments import find_study

    return getattr(find_study(name), "PILOT_OF", name)


def _pilot_file(prepared: Prepared) -> str:
    """What the record of its pilot is called."""
    return f"{_pilot_of(prepared.name)}-{prepared.dataset.info.name}-{prepared.size_name}.json"


def pilot_command(prepared: Prepared) -> str:
    """What records the pilot of this study on the phantom of its dataset again."""
    from experiments import find_study

    piloted, dataset = _pilot_of(prepared.name), prepared.dataset.info.name
    by_hand = (
        f"mlp-med study pilot {piloted} --dataset {dataset} --size {prepared.size_name} "
        f"--record experiments/pilots/{_pilot_file(prepared)}"
    )
    if prepared.size_name != "small":
        return by_hand
    return str(find_study(piloted).PILOT_COMMANDS.get(dataset, by_hand))


def plan(prepared: Prepared, pilot: "PilotResult | None", num_seeds: int | None) -> "Study":
    """The study with the pilot's settings, and the claims that depend on what the pilot found."""
    from experiments import STUDIES
    from mlp_med.studies.planning import plan_study

    experiment, info = STUDIES.get(prepared.name), prepared.dataset.info  # a control is no study
    claims: tuple[Claim, ...] = ()
    if hasattr(experiment, "claims"):
        described = {"unit": UNITS[info.unit], "phantom": info.phantom, "metric": info.metric}
        claims = experiment.claims(prepared.size, **described, pilot=pilot)
    study = plan_study(
        name=prepared.name,
        size=prepared.size_name,
        claim=claims[0] if claims else prepared.claim,
        claims=claims,
        arms=prepared.arms,
        num_seeds=num_seeds or prepared.size.num_seeds,
        dataset=prepared.dataset,
        precision=prepared.precision,
        cross_validated=prepared.size.cross_validated,
        pilot=pilot,
        pilot_command=pilot_command(prepared) if experiment else "",
        no_verdict_reason=prepared.size.no_verdict_reason,
    )
    budget = getattr(prepared.size, "memory_bytes", None)
    return study if budget is None else replace(study, memory=_within(study, budget))


def _within(study: "Study", budget_bytes: int) -> dict[str, Any]:
    """What the study's arms are predicted to take of the budget that they share."""
    from mlp_med.pipelines.datasets import describe
    from mlp_med.studies.memory_budget import predicted_memory

    info = study.dataset_info
    cells = {study.arm_of(cell): cell for cell in study.cells}
    return predicted_memory(cells, describe(info.name, Path(info.data_dir)), budget_bytes)


def train(
    study: "Study",
    ledger: "Ledger",
    *,
    workers: int | None = None,
    retry_failed: bool = False,
    checkpoint_seconds: float = 300.0,
    launch: "Launch | None" = None,
) -> "StudyRecord":
    """Runs the cells that are missing, with a progress bar.

    Args:
        study: the plan.
        ledger: where its cells go.
        workers: cells at once; None for as many as there is room for.
        retry_failed: also those whose failure would come again.
        checkpoint_seconds: the least time between two checkpoints of a cell; 0 for none.
        launch: where they run; None for this machine.
    """
    from mlp_med.capacity.gpu_memory import taken_memory
    from mlp_med.studies.cell_needs import Survey, survey, this_machine
    from mlp_med.studies.launchers.local import launch_local
    from mlp_med.studies.progress import StudyProgress
    from mlp_med.studies.run import run_study
    from mlp_med.studies.work import PRELOAD

    data_dir = Path(study.dataset_info.data_dir)
    surveyed: list[Survey] = []  # of what is pending alone: a study that is done has no need

    def needs_of(cells: "Sequence[Cell]") -> "Sequence[Needs]":
        surveyed.append(survey(cells, data_dir))
        return surveyed[-1].needs

    def launch_here(
        jobs: "Sequence[Job]",
        work: "Work",
        on_event: "Callable[[Order, Event], None]",
        *,
        is_lost: "Callable[[Order], bool]",
    ) -> None:
        num_gpus = surveyed[-1].num_gpus
        for told in taken_memory() if num_gpus else ():
            console.print(told, style="yellow", markup=False)
        machine = this_machine(num_gpus, workers)
        launch_local(jobs, work, on_event, machine=machine, preload=PRELOAD, is_lost=is_lost)

    spatial_dims = describe_dims(study)
    with StudyProgress(console, study.arm_names, spatial_dims) as progress:
        return run_study(
            study,
            ledger,
            launch=launch or launch_here,
            needs_of=needs_of,
            on_event=progress.event,
            on_plan=progress.planned,
            on_wait=progress.waiting,
            retry_failed=retry_failed,
            checkpoint_seconds=checkpoint_seconds,
        )


def describe_dims(study: "Study") -> int:
    """2 or 3, of the study's crops."""
    from mlp_med.pipelines.datasets import describe

    info = study.dataset_info
    return describe(info.name, Path(info.data_dir)).spatial_dims


def num_concurrent(cells: "Iterable[Cell]") -> int:
    """Cells at once: as the cores allow."""
    from mlp_med.cores import available_cores

    threads = max(cell.intra_op_threads * cell.num_workers for cell in cells)
    return max(1, available_cores() // threads)


def log_example_crops(ledger: "Ledger", study_run_id: str, study: "Study") -> None:
    """The report shows what the networks saw, from the ledger alone."""
    from mlp_med.crop_sheets import draw_built
    from mlp_med.ledger.study_run import log_crops
    from mlp_med.studies.own_process import in_process_of_its_own

    info = study.dataset_info
    with tempfile.TemporaryDirectory() as directory:
        sheet = Path(directory) / "crops.png"
        resolutions = [cell.resolution for cell in study.cells]
        in_process_of_its_own(draw_built, info.name, Path(info.data_dir), resolutions, sheet)
        log_crops(ledger, study_run_id, sheet.read_bytes())


def with_command(pilot: "PilotResult", command: str) -> "PilotResult":
    """The pilot as it is committed: with the command that makes it again."""
    kept = {name: value for name, value in pilot.origin.items() if name != "pilot_run"}
    return replace(pilot, origin={**kept, "command": command})
