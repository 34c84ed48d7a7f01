"""VinDr-Mammo's table of breasts, read into exams of four views."""

from pathlib import Path

import pandas as pd

from mlp_med.errors import SourceError
from tfds_builders.hashing import digest_of
from tfds_builders.tables import read_table

TABLE = "breast-level_annotations.csv"
COLUMNS = (
    "study_id",
    "image_id",
    "laterality",
    "view_position",
    "breast_birads",
    "breast_density",
    "split",
)
# The order of the channels.
VIEWS = (("L", "CC"), ("R", "CC"), ("L", "MLO"), ("R", "MLO"))
OFFICIAL = ("training", "test")
BIRADS, DENSITIES = range(1, 6), "ABCD"
MISSING_VIEW = "exams without all four views in the table"
REPEATED_VIEW = "images of a view that another image of the exam shows: one of them is used"
OTHER_VIEW = "images of a view other than CC and MLO"
MAX_SHOWN = 3


def read_exams(root: Path, problems: list[str], skipped: dict[str, int]) -> pd.DataFrame:
    """One row an exam that has all four views.

    Args:
        root: of the release.
        problems: what is wrong is added here.
        skipped: numbers left out are added here, by reason.

    Returns:
        Columns: `id` (the study's), `official` ("training" or "test"), `birads` (of the worse
        breast, 1 to 5), `birads_left`, `birads_right`, `density` (of the denser breast, 1 for A to
        4 for D) and the ids of the images, "L CC", "R CC", "L MLO", "R MLO"; sorted by id.
    """
    columns = ["id", "official", "birads", "birads_left", "birads_right", "density"]
    empty = pd.DataFrame(columns=[*columns, *map(" ".join, VIEWS)])
    try:
        images = _read_images(root / TABLE)
    except SourceError as error:
        problems.append(str(error))
        return empty
    problems += _contradictions(root / TABLE, images)
    if problems:
        return empty
    _count(skipped, OTHER_VIEW, int((~images["view_position"].isin(["CC", "MLO"])).sum()))
    images = images[images["view_position"].isin(["CC", "MLO"])]
    # One image a view, whatever the order of the rows.
    ranked = images.assign(rank=[digest_of([name]) for name in images["image_id"]])
    ranked = ranked.sort_values(["study_id", "rank"])
    repeated = ranked.duplicated(["study_id", "laterality", "view_position"])
    _count(skipped, REPEATED_VIEW, int(repeated.sum()))
    exams = [_exam(str(study), of) for study, of in ranked[~repeated].groupby("study_id")]
    whole = [exam for exam in exams if exam is not None]
    _count(skipped, MISSING_VIEW, len(exams) - len(whole))
    return pd.DataFrame(whole, columns=empty.columns) if whole else empty


def _read_images(path: Path) -> pd.DataFrame:
    images = read_table(path, text=COLUMNS)
    grades = {f"BI-RADS {grade}": grade for grade in BIRADS}
    densities = {f"DENSITY {letter}": n for n, letter in enumerate(DENSITIES, start=1)}
    for column, known in (
        ("laterality", "LR"),
        ("split", OFFICIAL),
        ("breast_birads", grades),
        ("breast_density", densities),
    ):
        wrong = images[[value not in known for value in images[column]]]
        if len(wrong):
            raise SourceError(
                f"{path} line {wrong.index[0]}: expected {column} out of {', '.join(known)}, found "
                f"{wrong[column].iloc[0]!r} (in {len(wrong):,} lines)"
            )
    for column in ("study_id", "image_id"):
        bad = images[[not name or "/" in name or name.startswith(".") for name in images[column]]]
        if len(bad):
            raise SourceError(
                f"{path} line {bad.index[0]}: expected a name for {column}, found "
                f"{bad[column].iloc[0]!r}"
            )
    return images.assign(
        birads=images["breast_birads"].map(grades), density=images["breast_density"].map(densities)
    )


def _contradictions(path: Path, images: pd.DataFrame) -> list[str]:
    """An exam in two splits, a breast with two grades, an image that is there twice."""
    problems = []
    for keys, column, what in (
        (["study_id"], "split", "each exam in one split"),
        (["study_id", "laterality"], "birads", "one BI-RADS for each breast"),
    ):
        kinds = images.groupby(keys)[column].nunique()
        wrong = kinds.index[kinds > 1]
        if len(wrong):
            shown = ", ".join(str(name) for name in wrong[:MAX_SHOWN])
            problems.append(f"{path}: expected {what}, not so for {len(wrong):,}: {shown}")
    repeated = images[images["image_id"].duplicated()]
    if len(repeated):
        problems.append(
            f"{path}: expected each image once, not so for {len(repeated):,}, the first "
            f"{repeated['image_id'].iloc[0]} (line {repeated.index[0]})"
        )
    return problems


def _exam(study: str, images: pd.DataFrame) -> dict[str, object] | None:
    """None if a view is missing."""
    of_view = images.set_index(["laterality", "view_position"])["image_id"].to_dict()
    if not set(VIEWS) <= of_view.keys():
        return None
    birads = images.groupby("laterality")["birads"].first()
    return {
        "id": study,
        "official": images["split"].iloc[0],
        "birads": int(birads.max()),
        "birads_left": int(birads["L"]),
        "birads_right": int(birads["R"]),
        "density": int(images["density"].max()),
        **{" ".join(view): of_view[view] for view in VIEWS},
    }


def _count(skipped: dict[str, int], reason: str, number: int) -> None:
    if number:
        skipped[reason] = skipped.get(reason, 0) + number
