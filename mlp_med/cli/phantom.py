"""`mlp-med phantom`: write scans that a program drew."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mlp_med.cli.app import Workers, console, phantom_app

Out = Annotated[Path, typer.Argument(help="Directory to write, absent or empty.")]
Seed = Annotated[int, typer.Option("--seed", help="Same seed, same bytes.")]


@phantom_app.command("luna16")
def phantom_luna16(
    out: Out,
    scans: Annotated[int, typer.Option("--scans", min=10, help="Number of scans.")] = 100,
    seed: Seed = 0,
    variant: Annotated[
        str,
        typer.Option(
            "--variant", help="nodules, nodules_alone, or a control: coarse_answer, fine_answer."
        ),
    ] = "nodules",
    blob_mm: Annotated[
        float | None,
        typer.Option(
            "--blob-mm",
            help="fine_answer only: size of what holds the answer, 1.25 to 4 mm (2.5).",
        ),
    ] = None,
    workers: Workers = None,
) -> None:
    """Write chest CT phantoms in exactly LUNA16's layout."""
    from mlp_med.phantoms.controls import FINE_BLOB_MM
    from mlp_med.phantoms.luna16 import write_luna16

    _draw(
        write_luna16,
        out,
        "scans",
        lambda s: f"with {s['num_nodules']:,} nodules and {s['num_mimics']:,} other candidates",
        num_scans=scans,
        seed=seed,
        variant=variant,
        blob_mm=FINE_BLOB_MM if blob_mm is None else blob_mm,
        num_workers=workers,
    )


@phantom_app.command("dsb2017")
def phantom_dsb2017(
    out: Out,
    scans: Annotated[int, typer.Option("--scans", min=16, help="One a patient.")] = 40,
    seed: Seed = 0,
    workers: Workers = None,
) -> None:
    """Write whole-chest CT phantoms in exactly the layout of the Data Science Bowl 2017."""
    from mlp_med.phantoms.dsb2017 import write_dsb2017

    _draw(
        write_dsb2017,
        out,
        "scans",
        lambda s: f"{s['num_with_cancer']} of them with a nodule that counts as cancer",
        num_scans=scans,
        seed=seed,
        num_workers=workers,
    )


@phantom_app.command("camelyon16")
def phantom_camelyon16(
    out: Out,
    slides: Annotated[int, typer.Option("--slides", min=20, help="Number of slides.")] = 60,
    seed: Seed = 0,
    workers: Workers = None,
) -> None:
    """Write whole-slide phantoms in CAMELYON16's layout (needs the extra `slides`)."""
    from mlp_med.phantoms.camelyon16 import write_camelyon16

    _draw(
        write_camelyon16,
        out,
        "slides",
        lambda s: f"{s['num_tumour_slides']} of them with metastases",
        num_slides=slides,
        seed=seed,
        num_workers=workers,
    )


@phantom_app.command("cbis_ddsm_crops")
def phantom_cbis_ddsm_crops(
    out: Out,
    patients: Annotated[int, typer.Option("--patients", min=10, help="Four films each.")] = 60,
    seed: Seed = 0,
    workers: Workers = None,
) -> None:
    """Write phantoms of film mammograms in exactly CBIS-DDSM's layout."""
    from mlp_med.phantoms.cbis_ddsm_crops import write_cbis_ddsm_crops

    _draw(
        write_cbis_ddsm_crops,
        out,
        "patients",
        lambda s: f"with {s['num_lesions']:,} lesions, each in a film of its own",
        num_patients=patients,
        seed=seed,
        num_workers=workers,
    )


@phantom_app.command("breast_screening")
def phantom_breast_screening(
    out: Out,
    exams: Annotated[
        int,
        typer.Option(
            "--exams", min=20, help="Four images each; of fewer than 120 a split may lack a class."
        ),
    ] = 160,
    seed: Seed = 0,
    workers: Workers = None,
) -> None:
    """Write phantoms of screening exams in exactly VinDr-Mammo's layout."""
    from mlp_med.phantoms.breast_screening import write_breast_screening

    _draw(
        write_breast_screening,
        out,
        "exams",
        lambda s: f"{s['num_suspicious']} of them BI-RADS 3 to 5",
        num_exams=exams,
        seed=seed,
        num_workers=workers,
    )


def _draw(
    write: Callable[..., Mapping[str, Any]],
    out: Path,
    unit: str,
    content: Callable[[Mapping[str, Any]], str],
    **options: Any,
) -> None:
    """Draws with a progress bar, then says what was drawn, and that it is a phantom."""
    from mlp_med.phantoms.release import MARKER
    from mlp_med.studies.progress import counting

    with counting(console, f"phantom {unit}") as progress:
        summary = write(out, progress=progress, **options)
    console.print(
        f"{out}: PHANTOM of {summary[f'num_{unit}']} {unit}, seed {summary['seed']}, "
        f"{content(summary)}, {summary['num_bytes'] / 1e9:.1f} GB",
        markup=False,
    )
    console.print(f"{summary['statement']} Its departures: {out / MARKER}", markup=False)
