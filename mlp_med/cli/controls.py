"""`mlp-med controls`: run the phantom's two controls and keep their record."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlp_med.cli.app import DEFAULT_TRACKING_URI, TrackingUri, app, console

if TYPE_CHECKING:
    from experiments.controls import ControlPair
    from mlp_med.evidence.contrast import Contrast
    from mlp_med.evidence.controls import ControlOutcome
    from mlp_med.ledger.store import Ledger
    from mlp_med.studies.planning import OpenedDataset


class StudySize(StrEnum):
    """Of the studies that the controls belong to."""

    small = "small"
    full = "full"


@app.command("controls")
def controls(
    size: Annotated[
        StudySize, typer.Option("--size", help="Of the studies that the controls are for.")
    ] = StudySize.small,
    data_dir: Annotated[
        Path, typer.Option("--data-dir", help="For the drawn scans and their crops.")
    ] = Path("data/controls"),
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
    record: Annotated[
        Path | None, typer.Option("--record", help="JSON file; that of the size if absent.")
    ] = None,
) -> None:
    """Run the negative and the positive control on drawn scans and write their record."""
    from experiments.controls import PAIRS, VARIANTS, digests_now
    from mlp_med.cli import records
    from mlp_med.evidence.controls import write_record
    from mlp_med.ledger.store import open_ledger
    from mlp_med.studies.provenance import environment, git_commit

    pair = PAIRS[size.value]
    path = record or pair.record
    records.check_place(path)
    ledger = open_ledger(tracking_uri)
    outcomes = []
    try:
        for name in VARIANTS:
            outcome = _run_control(ledger, name, size.value, data_dir)
            console.print(f"{name} control {'passed' if outcome.passed else 'FAILED'}: ", end="")
            console.print(outcome.summary, markup=False)
            outcomes.append(outcome)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from the cells that are done")
        raise typer.Exit(130) from None
    details = {"commit": git_commit(), "machine": environment()}
    content = write_record(pair.command, outcomes, digests_now(), details)
    records.keep(path, content)
    console.print(str(path), markup=False)
    if not all(outcome.passed for outcome in outcomes):
        raise typer.Exit(1)


def _run_control(ledger: "Ledger", name: str, study_size: str, data_dir: Path) -> "ControlOutcome":
    from experiments import resolution_matters
    from experiments.controls import PAIRS
    from mlp_med.cli import workflow
    from mlp_med.errors import StudyError
    from mlp_med.evidence.contrast import compare_arms
    from mlp_med.reports.study_data import load_study_data

    pair = PAIRS[study_size]
    opened = _drawn_crops(pair, name, data_dir)
    claim = resolution_matters.claim(pair.size, opened.info.unit, phantom=True)
    every = resolution_matters.arms(pair.size, opened.info.unit, phantom=True)
    prepared = workflow.Prepared(
        name=f"control_{name}",
        size_name=study_size,
        size=pair.size,
        claim=claim,
        arms=[arm for arm in every if arm.name in claim.primary],
        dataset=opened,
        precision=workflow.precision(pair.size.model),
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
    return _judge(pair, name, contrast, claim.margin)


def _drawn_crops(pair: "ControlPair", name: str, data_dir: Path) -> "OpenedDataset":
    """Scans whose answer lies where this control wants it, and their crops."""
    from experiments.controls import DATASET, NUM_SCANS, VARIANTS
    from mlp_med.cli.datasets import build_dataset
    from mlp_med.phantoms.luna16 import write_luna16
    from mlp_med.studies.planning import open_dataset
    from mlp_med.studies.progress import counting

    variant = VARIANTS[name]
    blob_mm = {} if name == "negative" else {"blob_mm": pair.fine_mm}
    drawn = f"{variant}-{pair.fine_mm:g}mm" if blob_mm else variant
    source, crops = data_dir / f"phantom-{drawn}", data_dir / f"tfds-{drawn}"
    with counting(console, f"phantom scans, {drawn}") as progress:
        write_luna16(
            source, num_scans=NUM_SCANS, seed=0, variant=variant, progress=progress, **blob_mm
        )
    build_dataset(DATASET, source, crops, sorted(pair.size.resolutions))
    return open_dataset(DATASET, pair.size.resolutions, crops, source)


def _judge(pair: "ControlPair", name: str, contrast: "Contrast", margin: float) -> "ControlOutcome":
    from mlp_med.evidence.controls import judge_negative, judge_positive

    auc = contrast.arm_a.mean_auc
    if name == "negative":
        return judge_negative(contrast, auc, margin)
    return judge_positive(contrast, auc, margin, pair.fine_mm)
