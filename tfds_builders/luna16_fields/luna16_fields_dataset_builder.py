"""LUNA16 as fields with and without nodules, which lie anywhere in them, and their annotations."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.luna16 import luna16_dataset_builder as luna16
from tfds_builders.luna16_fields.fields import MOST_LESIONS
from tfds_builders.luna16_fields.survey import CLASSES, FieldSurvey, survey_fields
from tfds_builders.preview import PreviewCase
from tfds_builders.stored_examples import StoredExample


class Builder(luna16.Builder):
    """Cubes of 40 mm that hold a nodule somewhere, or none; see README.md beside this file.

    Args:
        negatives_per_positive: non-nodule candidates a nodule, before they are displaced; 3 by
            default.
        **kwargs: of `LocalSourceBuilder`, among them `source`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}

    def features(self) -> dict[str, Any]:
        """Of an example, by name."""
        lesions = tfds.features.Tensor(shape=(MOST_LESIONS, 4), dtype=np.float32, encoding="bytes")
        return {
            **super().features(),
            "label": tfds.features.ClassLabel(names=list(CLASSES)),
            "lesions_mm": lesions,
        }

    def look_at_source(self) -> FieldSurvey:
        """Tables and headers; no pixels."""
        return survey_fields(self.source, self.options["negatives_per_positive"])

    def stored_examples(self, split: str) -> Iterator[StoredExample]:
        """The fields of a split, scan by scan, with their lesions."""
        lesions = self.survey().lesions_mm
        for stored in super().stored_examples(split):
            facts = {**stored.facts, "lesions_mm": lesions[stored.facts["id"]]}
            yield replace(stored, facts=facts)


def preview(
    source: Path | str, num_cases: int = 8, resolutions: Sequence[float] | None = None
) -> list[PreviewCase]:
    """Renders a few fields, both classes in turn, without building anything.

    Raises:
        SourceError: no known release, or no case in it.
        ImageError: a scan cannot be used.
    """
    survey = survey_fields(Path(source).expanduser().absolute())
    return luna16.preview_of(survey, num_cases, resolutions, CLASSES)
