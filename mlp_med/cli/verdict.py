"""`mlp-med verdict`: evidence on predictions of any framework."""

from pathlib import Path
from typing import Annotated

import typer

from mlp_med.cli.app import app, console
from mlp_med.errors import EvidenceError

TABLE = "Parquet or csv: id, patient, seed, label, score."


@app.command("verdict")
def verdict(
    a: Annotated[Path, typer.Argument(help=f"Arm a: {TABLE}")],
    b: Annotated[Path, typer.Argument(help="Arm b, on the same cases.")],
    out: Annotated[Path, typer.Option("--out", help="Directory for index.html and verdict.json.")],
    margin: Annotated[
        float, typer.Option("--margin", help="Smallest difference of AUC that matters.")
    ] = 0.01,
    name_a: Annotated[str | None, typer.Option("--name-a", help="Default: the file's.")] = None,
    name_b: Annotated[str | None, typer.Option("--name-b", help="Default: the file's.")] = None,
    claim: Annotated[
        str | None, typer.Option("--claim", help="In a sentence; default: a exceeds b.")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="What the cases are of.")] = None,
    phantom: Annotated[bool, typer.Option("--phantom", help="The cases were drawn.")] = False,
    logits: Annotated[bool, typer.Option("--logits", help="Scores are logits.")] = False,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            help="Column of either file to break the difference down by, numbers (in thirds) or "
            "words; again for another. Filled in every row, or in those of label 1 alone.",
        ),
    ] = None,
    common_cases: Annotated[
        bool, typer.Option("--common-cases", help="Compare only cases that both scored.")
    ] = False,
) -> None:
    """Decide whether arm a's AUC exceeds arm b's, from predictions of any framework.

    Columns: id (of the case), patient (empty where unknown), seed (of the training run), label (0
    or 1), score (probability of label 1).
    """
    from mlp_med.evidence.foreign import read_predictions
    from mlp_med.evidence.pairing import pair_predictions
    from mlp_med.reports.verdict_report import judge_predictions, write_verdict

    first, second = _arm_names(a, b, name_a, name_b)
    columns = tuple(dict.fromkeys(by or ()))
    paired = pair_predictions(
        read_predictions(a, first, logits=logits, by=columns),
        read_predictions(b, second, logits=logits, by=columns),
        common_cases=common_cases,
        by=columns,
    )
    judged = judge_predictions(
        paired, margin=margin, statement=claim, dataset=dataset, phantom=phantom
    )
    options = {
        "--margin": f"{margin:g}",
        "--name-a": first,
        "--name-b": second,
        "--claim": claim,
        "--dataset": dataset,
    }
    command = ["mlp-med", "verdict", str(a), str(b)]
    command += [word for option, value in options.items() if value for word in (option, value)]
    command += [word for column in columns for word in ("--by", column)]
    flags = {"--phantom": phantom, "--logits": logits, "--common-cases": common_cases}
    command += [flag for flag, is_set in flags.items() if is_set]
    page = write_verdict(judged, out, [*command, "--out", str(out)])
    console.print(judged.sentence, markup=False)
    for note in judged.notes:
        console.print(f"note: {note}", markup=False)
    console.print(str(page), markup=False)


def _arm_names(a: Path, b: Path, name_a: str | None, name_b: str | None) -> tuple[str, str]:
    """The given names, else the files', with their directories where the files' are the same."""
    if a.resolve() == b.resolve():
        raise EvidenceError(f"{a} was given as both arms: there is nothing to compare")
    first, second = name_a or _stem(a), name_b or _stem(b)
    if first == second and not (name_a and name_b):
        first = name_a or f"{a.resolve().parent.name}/{first}"
        second = name_b or f"{b.resolve().parent.name}/{second}"
    if first == second:
        raise EvidenceError(
            f"both arms are called {first!r}; tell them apart with --name-a and --name-b"
        )
    return first, second


def _stem(path: Path) -> str:
    return path.name.split(".")[0] or path.name
