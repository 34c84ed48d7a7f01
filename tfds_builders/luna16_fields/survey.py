"""LUNA16's survey, its candidates made fields: nothing of the source is read but its tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from tfds_builders.luna16.release_tables import read_annotations
from tfds_builders.luna16.survey import (
    NEGATIVES_PER_POSITIVE,
    Survey,
    report,
    splits_of_one_class,
    survey_source,
)
from tfds_builders.luna16_fields.fields import displaced_fields
from tfds_builders.source_report import SourceReport

CLASSES = ("no nodule", "nodule")


@dataclass
class FieldSurvey(Survey):
    """As of `luna16`, of fields.

    Attributes:
        lesions_mm: see `Fields`.
    """

    lesions_mm: Mapping[str, np.ndarray] = field(default_factory=dict)


def survey_fields(
    root: Path, negatives_per_positive: float = NEGATIVES_PER_POSITIVE
) -> FieldSurvey:
    """Reads the tables and headers below `root` and chooses the fields.

    Raises:
        SourceError: `root` holds no known release. All else is in the survey's problems.
    """
    survey = survey_source(root, negatives_per_positive)
    if survey.examples.empty:  # the problems say why
        return FieldSurvey(**vars(survey))
    annotations = read_annotations(survey.layout.annotations)
    fields = displaced_fields(survey.examples, annotations, survey.scans)
    splits = {series: scan.split for series, scan in survey.scans.items()}
    of_candidates = splits_of_one_class(survey)
    found = FieldSurvey(**vars(survey), lesions_mm=fields.lesions_mm)
    found.examples = fields.examples.assign(split=fields.examples["series"].map(splits))
    found.skipped = {**survey.skipped, **fields.skipped}
    found.problems = [problem for problem in survey.problems if problem not in of_candidates]
    if survey.layout.candidates:
        found.problems += splits_of_one_class(found, CLASSES)
    return found


def check(
    source: Path | str, negatives_per_positive: float = NEGATIVES_PER_POSITIVE
) -> SourceReport:
    """What the source holds and what a build would skip; reads no voxels and writes nothing."""
    survey_of = partial(survey_fields, negatives_per_positive=negatives_per_positive)
    return report("luna16_fields", source, survey_of, CLASSES)
