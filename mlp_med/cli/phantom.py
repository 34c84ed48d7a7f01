"""`mlp-med phantom`: write scans that a program drew."""

from pathlib import Path
from typing import Annotated

import typer

from mlp_med.cli.app import Workers, console, phantom_app


@phantom_app.command("luna16")
def phantom_luna16(
    out: Annotated[Path, typer.Argument(help="Directory to write, absent or empty.")],
    scans: Annotated[int, typer.Option("--scans", min=10, help="Number of scans.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same bytes.")] = 0,
    variant: Annotated[
        str, typer.Option("--variant", help="nodules, or a control: coarse_answer, fine_answer.")
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
    from mlp_med.phantoms.release import MARKER
    from mlp_med.studies.progress import counting

    with counting(console, "phantom scans") as progress:
        summary = write_luna16(
            out,
            num_scans=scans,
            seed=seed,
            variant=variant,
            blob_mm=FINE_BLOB_MM if blob_mm is None else blob_mm,
            num_workers=workers,
            progress=progress,
        )
    num_bytes = summary["num_bytes"]
    assert isinstance(num_bytes, int)
    console.print(
        f"{out}: PHANTOM of {summary['num_scans']} scans, seed {summary['seed']}, with "
        f"{summary['num_nodules']:,} nodules and {summary['num_mimics']:,} mimics, "
        f"{num_bytes / 1e9:.1f} GB",
        markup=False,
    )
    console.print(f"{summary['statement']} Its departures: {out / MARKER}", markup=False)


@phantom_app.command("dsb2017")
def phantom_dsb2017(
    out: Annotated[Path, typer.Argument(help="Directory to write, absent or empty.")],
    scans: Annotated[int, typer.Option("--scans", min=16, help="Number of patients.")] = 40,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same bytes.")] = 0,
    workers: Workers = None,
) -> None:
    """Write whole-chest CT phantoms in exactly the layout of the Data Science Bowl 2017."""
    from mlp_med.phantoms.dsb2017 import write_dsb2017
    from mlp_med.phantoms.release import MARKER
    from mlp_med.studies.progress import counting

    with counting(console, "phantom scans") as progress:
        summary = write_dsb2017(
            out, num_scans=scans, seed=seed, num_workers=workers, progress=progress
        )
    num_bytes = summary["num_bytes"]
    assert isinstance(num_bytes, int)
    console.print(
        f"{out}: PHANTOM of {summary['num_scans']} patients, seed {summary['seed']}, "
        f"{summary['num_with_cancer']} of them with a nodule that counts as cancer, "
        f"{num_bytes / 1e9:.1f} GB",
        markup=False,
    )
    console.print(f"{summary['statement']} Its departures: {out / MARKER}", markup=False)


@phantom_app.command("camelyon16")
def phantom_camelyon16(
    out: Annotated[Path, typer.Argument(help="Directory to write, absent or empty.")],
    slides: Annotated[int, typer.Option("--slides", min=20, help="Number of slides.")] = 60,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same bytes.")] = 0,
    workers: Workers = None,
) -> None:
    """Write whole-slide phantoms in CAMELYON16's layout (needs the extra `slides`)."""
    from mlp_med.phantoms.camelyon16 import write_camelyon16
    from mlp_med.phantoms.release import MARKER
    from mlp_med.studies.progress import counting

    with counting(console, "phantom slides") as progress:
        summary = write_camelyon16(
            out, num_slides=slides, seed=seed, num_workers=workers, progress=progress
        )
    num_bytes = summary["num_bytes"]
    assert isinstance(num_bytes, int)
    console.print(
        f"{out}: PHANTOM of {summary['num_slides']} slides, seed {summary['seed']}, "
        f"{summary['num_tumour_slides']} of them with metastases, {num_bytes / 1e9:.1f} GB",
        markup=False,
    )
    console.print(f"{summary['statement']} Its departures: {out / MARKER}", markup=False)


@phantom_app.command("cbis_ddsm_crops")
def phantom_cbis_ddsm_crops(
    out: Annotated[Path, typer.Argument(help="Directory to write, absent or empty.")],
    patients: Annotated[int, typer.Option("--patients", min=10, help="Four films each.")] = 60,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same bytes.")] = 0,
    workers: Workers = None,
) -> None:
    """Write phantoms of film mammograms in exactly CBIS-DDSM's layout."""
    from mlp_med.phantoms.cbis_ddsm_crops import write_cbis_ddsm_crops
    from mlp_med.phantoms.release import MARKER
    from mlp_med.studies.progress import counting

    with counting(console, "phantom patients") as progress:
        summary = write_cbis_ddsm_crops(
            out, num_patients=patients, seed=seed, num_workers=workers, progress=progress
        )
    num_bytes = summary["num_bytes"]
    assert isinstance(num_bytes, int)
    console.print(
        f"{out}: PHANTOM of {summary['num_patients']} patients, seed {summary['seed']}, with "
        f"{summary['num_lesions']:,} lesions, each in a film of its own, {num_bytes / 1e9:.1f} GB",
        markup=False,
    )
    console.print(f"{summary['statement']} Its departures: {out / MARKER}", markup=False)


@phantom_app.command("breast_screening")
def phantom_breast_screening(
    out: Annotated[Path, typer.Argument(help="Directory to write, absent or empty.")],
    exams: Annotated[int, typer.Option("--exams", min=20, help="Four images each.")] = 60,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same bytes.")] = 0,
    workers: Workers = None,
) -> None:
    """Write phantoms of screening exams in exactly VinDr-Mammo's layout."""
    from mlp_med.phantoms.breast_screening import write_breast_screening
    from mlp_med.phantoms.release import MARKER
    from mlp_med.studies.progress import counting

    with counting(console, "phantom exams") as progress:
        summary = write_breast_screening(
            out, num_exams=exams, seed=seed, num_workers=workers, progress=progress
        )
    num_bytes = summary["num_bytes"]
    assert isinstance(num_bytes, int)
    console.print(
        f"{out}: PHANTOM of {summary['num_exams']} exams, seed {summary['seed']}, "
        f"{summary['num_suspicious']} of them BI-RADS 3 to 5, {num_bytes / 1e9:.1f} GB",
        markup=False,
    )
    console.print(f"{summary['statement']} Its departures: {out / MARKER}", markup=False)
