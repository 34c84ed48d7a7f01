"""`mlp-med controls`: run the phantom's two controls and keep their record."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlp_med.cli.app import DEFAULT_TRACKING_URI, TrackingUri, app, console

if TYPE_CHECKING:
    from mlp_med.evidence.controls import ControlOutcome
    from mlp_med.ledger.store import Ledger


@app.command("controls")
def controls(
    data_dir: Annotated[
        Path, typer.Option("--data-dir", help="For the drawn scans and their crops.")
    ] = Path("data/controls"),
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
    record: Annotated[
        Path | None, typer.Option("--record", help="JSON file; the committed one if absent.")
    ] = None,
) -> None:
    """Run the negative and the positive control on drawn scans and write their record."""
    from experiments.controls import RECORD, VARIANTS, digests_now
    from mlp_med.cli import records
    from mlp_med.evidence.controls import write_record
    from mlp_med.ledger.store import open_ledger
    from mlp_med.studies.provenance import environment, git_commit

    path = record or RECORD
    records.check_place(path)
    ledger = open_ledger(tracking_uri)
    outcomes = []
    try:
        for name, variant in VARIANTS.items():
            outcome = _run_control(ledger, name, variant, data_dir)
            console.print(f"{name} control {'passed' if outcome.passed else 'FAILED'}: ", end="")
            console.print(outcome.summary, markup=False)
            outcomes.append(outcome)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from the cells that are done")
        raise typer.Exit(130) from None
    details = {"commit": git_commit(), "machine": environment()}
    content = write_record(outcomes, digests_now(), details)
    records.keep(path, content)
    console.print(str(path), markup=False)
    if not all(outcome.passed for outcome in outcomes):
        raise typer.Exit(1)


def _run_control(ledger: "Ledger", name: str, variant: str, data_dir: Path) -> "ControlOutcome":
    from experiments import resolution_matters
    from experiments.controls import NUM_SCANS, SIZE
    from mlp_med.cli import workflow
    from mlp_med.cli.datasets import build_dataset
    from mlp_med.errors import StudyError
    from mlp_med.evidence.contrast import compare_arms
    from mlp_med.evidence.controls import judge_negative, judge_positive
    from mlp_med.phantoms.luna16 import write_luna16
    from mlp_med.reports.study_data import load_study_data
    from mlp_med.studies.planning import open_dataset
    from mlp_med.studies.progress import counting

    source, crops = data_dir / f"phantom-{variant}", data_dir / f"tfds-{variant}"
    with counting(console, f"phantom scans, {variant}") as progress:
        write_luna16(source, num_scans=NUM_SCANS, seed=0, variant=variant, progress=progress)
    build_dataset("luna16", source, crops, sorted(SIZE.resolutions))
    opened = open_dataset("luna16", SIZE.resolutions, crops, source)
    claim = resolution_matters.claim(SIZE, opened.info.unit, phantom=True)
    every = resolution_matters.arms(SIZE, opened.info.unit, phantom=True)
    prepared = workflow.Prepared(
        name=f"control_{name}",
        size_name="small",
        size=SIZE,
        claim=claim,
        arms=[arm for arm in every if arm.name in claim.primary],
        dataset=opened,
        precision=workflow.precision(SIZE.model),
    )
    study = workflow.plan(prepared, None, None)
    found = workflow.train(study, ledger)
    if len(found.in_state("done")) < len(study.cells):
        raise StudyError(
            f"cells of the {name} control failed; see: mlp-med study status control_{name}"
        )
    data = load_study_data(ledger, found)
    fine, upsampled = (data.predictions[arm] for arm in claim.primary)
    contrast = compare_arms(fine, upsampled, seed=0)
    judge = {"negative": judge_negative, "positive": judge_positive}[name]
    return judge(contrast, contrast.arm_a.mean_auc, claim.margin)
