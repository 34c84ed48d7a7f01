"""A split cut into shards as TFDS cuts it, so that each can be written alone, by any worker.

TFDS orders a split by the hashes of its keys and cuts it into shards of equal length. Its own way
under Beam cuts between hashes instead, so that shards differ in length and a reader of several
at once meets another order; and it sends every image through the runner.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer, hashing, naming, writer
from tensorflow_datasets.core.utils import shard_utils

from tfds_builders.stored_examples import StoredExample, read_stored


@dataclass(frozen=True, eq=False)
class Shard:
    """One file of a split, and what belongs in it.

    Attributes:
        path: of the file.
        file_format: TFDS's.
        features: TFDS's, of the dataset.
        examples: in the file's order.
    """

    path: Path
    file_format: Any
    features: Any
    examples: Sequence[StoredExample]


@dataclass(frozen=True, eq=False)
class SplitPlan:
    """A split before it is written.

    Attributes:
        shards: in order.
        num_bytes: of all its records.
        template: TFDS's, of the names of its files.
    """

    shards: Sequence[Shard]
    num_bytes: int
    template: naming.ShardedFileTemplate

    def info(self) -> tfds.core.SplitInfo:
        """What TFDS keeps of a split that is written."""
        return tfds.core.SplitInfo(
            name=self.template.split,
            shard_lengths=[len(shard.examples) for shard in self.shards],
            num_bytes=self.num_bytes,
            filename_template=self.template,
        )


def plan_split(
    examples: Sequence[StoredExample],
    features: Any,
    file_format: Any,
    template: naming.ShardedFileTemplate,
    config: shard_utils.ShardConfig,
) -> SplitPlan:
    """The shards that TFDS would write of these examples, none of them read.

    Raises:
        ValueError: no example, or two with one key.
    """
    hasher = hashing.Hasher(template.split)
    by_hash = {hasher.hash_key(example.key): example for example in examples}
    if not examples or len(by_hash) != len(examples):
        raise ValueError(f"{template.split}: expected examples with keys of their own")
    ordered = [by_hash[key] for key in sorted(by_hash)]
    num_bytes = _record_bytes(ordered, features)
    number = config.get_number_shards(num_bytes, len(ordered))
    ends = shard_utils.get_shard_boundaries(len(ordered), number)
    shards = []
    for index, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        path = template.sharded_filepath(shard_index=index, num_shards=number)
        shards.append(Shard(Path(path), file_format, features, ordered[start:end]))
    return SplitPlan(shards, num_bytes, template)


def write_shard(shard: Shard) -> None:
    """Writes one file, which appears whole or not at all.

    Raises:
        OSError: a crop file cannot be read.
        tf.errors.OpError: the file cannot be written.
    """
    serializer = example_serializer.ExampleSerializer(shard.features.get_serialized_info())
    unfinished = shard.path.with_name(f"{shard.path.name}.{uuid.uuid4().hex}")
    shape = shard.features["image"].shape
    records = (
        (key, serializer.serialize_example(shard.features.encode_example(example)))
        for key, example in read_stored(shard.examples, shape)
    )
    try:
        writer.ExampleWriter(shard.file_format).write(unfinished, records)
        unfinished.replace(shard.path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _record_bytes(examples: Sequence[StoredExample], features: Any) -> int:
    """Length of all records: an image is stored as it is, so that a blank one counts as much."""
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    image = features["image"]
    blank = np.zeros(image.shape, image.np_dtype)
    return sum(
        len(
            serializer.serialize_example(features.encode_example({**example.facts, "image": blank}))
        )
        for example in examples
    )
