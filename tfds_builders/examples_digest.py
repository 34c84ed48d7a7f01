"""A digest of what a dataset says, not of the bytes in which its records happen to be written.

Two builds of the same source differ in record bytes (the order of a protobuf map), yet their parsed
examples are equal, and so is this digest.
"""

import hashlib

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.hashing import digest_of


def examples_digest(builder: tfds.core.DatasetBuilder) -> str:
    """Digest (32 hexadecimal characters) over every parsed example of every split.

    The order of the examples within a split does not count.
    """
    parts: list[str] = []
    for split in sorted(builder.info.splits):
        examples = builder.as_dataset(
            split=split, shuffle_files=False, read_config=tfds.ReadConfig(try_autocache=False)
        )
        digests = sorted(_example_digest(example) for example in tfds.as_numpy(examples))
        parts += [split, str(len(digests)), *digests]
    return digest_of(parts)


def _example_digest(example: dict[str, np.ndarray | bytes]) -> str:
    state = hashlib.sha256()
    for name in sorted(example):
        value = np.asarray(example[name])
        data = example[name] if isinstance(example[name], bytes) else value.tobytes()
        head = f"{name}|{value.dtype.kind}{value.dtype.itemsize}|{value.shape}|{len(data)}|"
        state.update(head.encode())
        state.update(data)
    return state.hexdigest()
