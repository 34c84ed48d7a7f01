"""The command line's skeleton: the groups of verbs, and the options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    help="What image resolution, batch size and splitting are worth in medical deep learning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
phantom_app = typer.Typer(help="Write scans that a program drew.", no_args_is_help=True)
data_app = typer.Typer(help="Check, build and show datasets.", no_args_is_help=True)
study_app = typer.Typer(help="List, plan, run and follow studies.", no_args_is_help=True)
app.add_typer(phantom_app, name="phantom")
app.add_typer(data_app, name="data")
app.add_typer(study_app, name="study")

console = Console(highlight=False, soft_wrap=True)

DATASETS = (
    "luna16, luna16_fields, dsb2017, cbis_ddsm_crops, breast_screening, metastasis_patches, "
    "camelyon16 or table."
)

DatasetName = Annotated[
    str,
    typer.Argument(help=DATASETS),
]
Source = Annotated[
    Path,
    typer.Option("--source", help="Directory of the release; the csv file of a table."),
]
OptionalSource = Annotated[
    Path | None,
    typer.Option("--source", help="As for `data build`; needed until the dataset is built."),
]
Resolutions = Annotated[
    list[float] | None,
    typer.Option("--resolution", help="mm a voxel or µm a pixel; repeat it. All if absent."),
]
TableResolutions = Annotated[
    list[float] | None,
    typer.Option("--resolution", help="table only: mm a voxel; repeat it. Octaves if absent."),
]
FieldMm = Annotated[
    float | None, typer.Option("--field-mm", help="table only: edge of the field of a crop.")
]
SpacingMm = Annotated[
    float | None,
    typer.Option("--spacing-mm", help="table only: edge of a pixel where files tell no mm."),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="cbis_ddsm_crops: lesion (against background) or pathology; breast_screening: "
        "assessment (BI-RADS 1, 2, ≥3) or suspicion (≥3 or not).",
    ),
]
NegativesPerPositive = Annotated[
    float | None,
    typer.Option(
        "--negatives",
        min=1,
        help="luna16 and luna16_fields: non-nodules kept a nodule, 3 by default; 1000 keeps all "
        "candidates, for a FROC over whole scans.",
    ),
]
DataDir = Annotated[Path, typer.Option("--data-dir", help="TFDS's data directory.")]
StudyName = Annotated[str, typer.Argument(help="See `mlp-med study list`.")]
StudyDataset = Annotated[
    str,
    typer.Option(
        "--dataset",
        help=DATASETS,
    ),
]
SizeName = Annotated[str, typer.Option("--size", help="smoke, small or full.")]
NumSeeds = Annotated[
    int | None, typer.Option("--seeds", min=1, help="Seeds an arm; the experiment's own if absent.")
]
TrackingUri = Annotated[
    str,
    typer.Option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="The ledger: MLflow by URI."),
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Processes; one a core.")]

BeamRunner = Annotated[
    str | None,
    typer.Option(
        "--beam-runner",
        help="Apache Beam renders and writes, as in DirectRunner; needs the extra beam.",
    ),
]
BeamOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--beam-option",
        help="Of the runner, as in direct_running_mode=multi_processing; repeat it.",
    ),
]

DEFAULT_DATA_DIR = Path("data/tfds")
DEFAULT_TRACKING_URI = "sqlite:///runs/mlflow.db"
