"""`mlp-med rerun --study NAME --at COMMIT`: a sample of cells with the code of a commit."""

import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path

from mlp_med.cli.app import console


@dataclass(frozen=True)
class RerunAt:
    """What was asked for; see the options of the command."""

    study: str
    revision: str
    num_cells: int
    seed: int | None
    dataset: str | None
    size: str | None
    data_dir: Path | None
    out: Path | None
    environments: Path


def rerun_at(asked: RerunAt, tracking_uri: str, repository: Path | None) -> bool:
    """Reruns the sample and writes the report; returns whether all came out the same bits."""
    import mlp_med
    from mlp_med.cores import available_cores
    from mlp_med.ledger.read import read_study
    from mlp_med.ledger.store import ledger_to_read
    from mlp_med.reports.reproduction_report import ReproductionReport, write_reproduction
    from mlp_med.studies.commit_environment import make_commit_environment, resolve_commit
    from mlp_med.studies.provenance import environment as this_environment
    from mlp_med.studies.reproduction import TOLERANCE, reproduce
    from mlp_med.studies.rerun import sample_cells

    repository = repository or Path(mlp_med.__file__).parent.parent
    commit = resolve_commit(repository, asked.revision)
    ledger = ledger_to_read(tracking_uri)
    record = read_study(ledger, name=asked.study, dataset=asked.dataset, size=asked.size)
    seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
    records = sample_cells(record, asked.num_cells, seed)
    console.print(
        f"making the environment of commit {commit[:12]} in {asked.environments}, or taking the "
        "one that is there",
        markup=False,
    )
    environment = make_commit_environment(repository, commit, asked.environments)
    what = f"{record.name} ({record.tags.get('size')}, {record.tags.get('dataset')})"
    console.print(
        f"rerunning {len(records)} of the {len(record.in_state('done'))} done cells of {what} "
        f"there, drawn with --seed {seed}",
        markup=False,
    )
    here = this_environment()
    threads = max(int(cell.params["intra_op_threads"]) for cell in records)
    found = reproduce(
        ledger,
        records,
        environment,
        machine={name: here[name] for name in ("processor", "num_cores")},
        data_dir=asked.data_dir,
        num_concurrent=max(1, available_cores() // threads),
        on_end=lambda cell: console.print(str(cell), markup=False),
    )
    report = ReproductionReport(
        study=what,
        phantom=record.tags.get("phantom") == "true",
        environment=environment,
        cells=found,
        tolerance=TOLERANCE,
        command=_command(asked, commit, seed),
    )
    out = asked.out or Path("reports") / f"{record.name}-at-{commit[:12]}"
    page = write_reproduction(report, out)
    console.print(report.sentence, markup=False)
    console.print(str(page), markup=False)
    return all(cell.result == "same bits" for cell in found)


def _command(asked: RerunAt, commit: str, seed: int) -> str:
    words = ["mlp-med", "rerun", "--study", asked.study, "--at", commit]
    words += ["--sample", str(asked.num_cells), "--seed", str(seed)]
    options = {"--dataset": asked.dataset, "--size": asked.size, "--data-dir": asked.data_dir}
    for name, value in options.items():
        words += [name, str(value)] if value is not None else []
    return shlex.join(words)
