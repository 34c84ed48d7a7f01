"""Examples whose images wait in crop files, and the reading of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from tfds_builders.crop_files import open_crops


@dataclass(frozen=True, eq=False)
class StoredExample:
    """An example without its image, and where that is; small, so that it travels between processes.

    Attributes:
        file: the crop file.
        index: of the image in the array of that file; () where the image is all of it.
        facts: every other feature of the example, "id" among them.
    """

    file: Path
    index: int | tuple[int, ...]
    facts: dict[str, Any]

    @property
    def key(self) -> str:
        """What TFDS orders the examples of a split by, after hashing it."""
        return self.facts["id"]


def read_stored(
    examples: Iterable[StoredExample], shape: tuple[int, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and features of each example, its image in `shape`; a file is opened once a run of it."""
    for file, some in groupby(examples, key=lambda example: example.file):
        images = open_crops(file)
        for example in some:
            image = np.array(images[example.index]).reshape(shape)
            yield example.key, {**example.facts, "image": image}
