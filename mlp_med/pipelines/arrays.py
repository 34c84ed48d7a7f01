"""One split of one configuration, whole in memory, in an order that its files do not decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from mlp_med.errors import DatasetError
from mlp_med.imaging.lesion_tiles import holds_uncut_lesion

SPLITS = ("train", "validation", "test")
ALL = "all"  # of a dataset, whatever their split
_READ_BATCH_SIZE = 256
ALIGNMENT_BYTES = 64
STRATA_AND_LESIONS = ("diameter_mm", "native_spacing_mm", "density", "kind", "lesions_mm")
SEAMS = {2: "uncut_by_2_tiles", 4: "uncut_by_4_tiles"}  # the stratum, by tiles along each axis


@dataclass(frozen=True)
class Examples:
    """The examples of a split; row i of everything belongs to the same crop, rows sorted by id.

    Attributes:
        images: native dtype (HU as int16, pixels as uint8), [num, *voxels, channels].
        labels: int8 [num], from 0.
        ids: str [num], unique, the same at every resolution.
        patients: str [num]; "" where unknown.
        strata: float32 [num] each, or str; properties by which a result can be broken down.
        lesions_mm: float32 [num, most, spatial_dims + 1], the annotated lesions in a crop as
            `mlp_med.imaging.lesion_tiles` has them, zeros below them; None where the dataset keeps
            none.
        folds: int64 [num], the fold of a cross-validation that a case is tested in; -1 where the
            dataset has none.
        digest: of the parsed examples, as the builder stored it.
        source: digest of the source that the dataset was built from.
        phantom: True where the source was drawn and not scanned.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    patients: np.ndarray
    strata: Mapping[str, np.ndarray] = field(default_factory=dict)
    folds: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    digest: str = ""
    source: str = ""
    phantom: bool = False
    lesions_mm: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __post_init__(self) -> None:
        if not len(self.folds):
            object.__setattr__(self, "folds", np.full(len(self.labels), -1))

    def take(self, rows: np.ndarray) -> Self:
        """The examples at these ascending rows, copied to where TensorFlow reads them in place."""
        images = aligned_empty((len(rows), *self.images.shape[1:]), self.images.dtype)
        np.take(self.images, rows, axis=0, out=images)
        return replace(
            self,
            images=images,
            labels=self.labels[rows],
            ids=self.ids[rows],
            patients=self.patients[rows],
            strata={name: values[rows] for name, values in self.strata.items()},
            folds=self.folds[rows],
            lesions_mm=None if self.lesions_mm is None else self.lesions_mm[rows],
        )

    @property
    def num_bytes(self) -> int:
        """What the examples hold in memory, nearly all of it the images."""
        columns = (self.images, self.labels, self.ids, self.patients, *self.strata.values())
        return sum(column.nbytes for column in columns)


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array that TensorFlow can read in place, where NumPy's own would be copied.

    TensorFlow wants 64-byte alignment and NumPy promises 16.
    """
    num_bytes = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(num_bytes + ALIGNMENT_BYTES, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT_BYTES
    return memory[start : start + num_bytes].view(dtype).reshape(shape)


def collect(
    batches: list[dict[str, np.ndarray]],
    *,
    where: str,
    num_classes: int = 2,
    kinds: Sequence[str] = (),
) -> Examples:
    """Joins batches of parsed records into examples sorted by id; empties the list as it goes.

    Args:
        batches: each with `image`, `label`, `id` and `patient` columns (bytes or str), and the
            strata's raw columns `diameter_mm`, `native_spacing_mm`, `density` (of a breast, by
            BI-RADS 1 to 4) and `kind` (a number: of a lesion, or a scanner), and `lesions_mm`,
            where the dataset has them.
        where: what is being read, for messages.
        num_classes: labels are below it.
        kinds: the words of `kind`, by number.

    Raises:
        DatasetError: nothing there, an id twice, a label of no class, or a class without examples.
    """
    if not batches:
        raise DatasetError(f"{where} holds no examples; build the dataset again")

    def column(name: str) -> np.ndarray:
        return np.concatenate([batch[name] for batch in batches])

    ids = _text(column("id"))
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    labels = column("label")[order].astype(np.int8)
    _check(ids, labels, where, num_classes)
    patients = _text(column("patient"))[order]
    strata: dict[str, np.ndarray] = {
        name: column(name)[order].astype(np.float32)
        for name in ("diameter_mm", "density")
        if name in batches[0]
    }
    if "native_spacing_mm" in batches[0]:
        # The coarsest native axis bounds the detail that any resolution can show.
        strata["native_spacing_mm"] = column("native_spacing_mm").max(axis=1)[order]
    if "kind" in batches[0]:
        strata["kind"] = np.array(kinds)[column("kind")[order]]
    folds = column("fold")[order] if "fold" in batches[0] else np.full(len(ids), -1)
    lesions = column("lesions_mm")[order] if "lesions_mm" in batches[0] else None
    images = _images(batches, order)
    return Examples(images, labels, ids, patients, strata, folds, lesions_mm=lesions)


def load_split(name: str, data_dir: Path, resolution: float, split: str) -> Examples:
    """Reads one split of one configuration into memory.

    It takes `Examples.num_bytes`: 1 kB an example of LUNA16 at 5 mm, 524 kB at 0.625 mm. While the
    crops are sorted, up to twice that if they are small; batches of large ones are given back on
    the way.

    Args:
        name: the dataset's, e.g. "luna16".
        data_dir: where it was built.
        resolution: edge of a voxel in the dataset's unit.
        split: "train", "validation", "test" or "all", which is all three.

    Raises:
        DatasetError: unknown split; the dataset is not built; a split is empty or lacks a class.
    """
    import tfds_builders

    if split not in (*SPLITS, ALL):
        raise DatasetError(f"expected a split out of {', '.join(SPLITS)}, got {split!r}")
    builder = tfds_builders.open_config(name, resolution, data_dir)
    return read_builder(builder, split)


def read_builder(builder: Any, split: str, *, with_images: bool = True) -> Examples:
    """Reads one split of an opened tensorflow-datasets builder; see `load_split`.

    TFRecord's checksums tell of a damaged record, TFDS of one too few or too many.

    Args:
        builder: of a dataset that is built.
        split: its name, or "all".
        with_images: without, the images are empty, [num, 0]: whole lungs and exams are gigabytes
            that whoever counts cases has no use for.

    Raises:
        DatasetError: as `load_split`; or a record file is damaged, cut short or missing.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    where = f"split {split!r} of {builder.info.full_name} in {builder.data_dir}"
    if split not in (*builder.info.splits, ALL):
        raise DatasetError(f"there is no {where}; build the dataset again")
    wanted = {"label", "id", "patient", "fold", *STRATA_AND_LESIONS}
    wanted |= {"image"} if with_images else set()
    features = builder.info.features
    dataset = builder.as_dataset(
        split=split,
        batch_size=_READ_BATCH_SIZE,
        shuffle_files=False,
        decoders=tfds.decode.PartialDecoding({key: True for key in features if key in wanted}),
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    num_classes = int(features["label"].num_classes)
    kinds = features["kind"].names if "kind" in features else []
    try:
        batches = list(tfds.as_numpy(dataset))
    except tf.errors.OpError as error:
        reason = (error.message or "").rpartition("}} ")[2].partition(" [Op")[0]
        raise DatasetError(
            f"a record file of {where} is damaged ({reason}); remove {builder.data_dir} and build "
            "it again, which gives the same examples"
        ) from error
    for batch in batches:
        batch.setdefault("image", np.empty((len(batch["label"]), 0), np.uint8))
    examples = collect(batches, where=where, num_classes=num_classes, kinds=kinds)
    metadata = builder.info.metadata or {}
    digest = metadata.get("examples_digest", "")
    strata = dict(examples.strata)
    if examples.lesions_mm is not None:
        strata |= _seams(examples.lesions_mm, float(metadata["extent_mm"]))
    return Examples(
        images=examples.images,
        labels=examples.labels,
        ids=examples.ids,
        patients=examples.patients,
        strata=strata,
        folds=examples.folds,
        lesions_mm=examples.lesions_mm,
        digest=digest.get(split, "") if isinstance(digest, Mapping) else str(digest),
        source=str(metadata.get("source_digest", "")),
        phantom=bool(metadata.get("phantom", False)),
    )


def _seams(lesions_mm: np.ndarray, extent_mm: float) -> dict[str, np.ndarray]:
    """By stratum float32 [num]: 1 where a lesion is cut by no border of so many tiles an axis."""
    extents = (extent_mm,) * (lesions_mm.shape[-1] - 1)
    return {
        stratum: holds_uncut_lesion(lesions_mm, split, extents).astype(np.float32)
        for split, stratum in SEAMS.items()
    }


def _images(batches: list[dict[str, np.ndarray]], order: np.ndarray) -> np.ndarray:
    """The images in the order given; each batch is released once it is copied."""
    first = batches[0]["image"]
    images = aligned_empty((len(order), *first.shape[1:]), first.dtype)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    stop = len(order)
    while batches:
        image = batches.pop()["image"]
        images[rank[stop - len(image) : stop]] = image
        stop -= len(image)
    return images


def _check(ids: np.ndarray, labels: np.ndarray, where: str, num_classes: int) -> None:
    repeated = ids[1:][ids[1:] == ids[:-1]]
    if len(repeated):
        raise DatasetError(f"{where} holds the id {str(repeated[0])!r} more than once")
    classes, counts = np.unique(labels, return_counts=True)
    if not set(classes.tolist()) <= set(range(num_classes)):
        known = " and ".join(map(str, range(num_classes)))
        raise DatasetError(f"expected labels {known} in {where}, got {classes.tolist()}")
    if len(classes) < num_classes:
        held = " and ".join(
            f"{n} examples of class {k}" for k, n in zip(classes, counts, strict=True)
        )
        raise DatasetError(
            f"{where} holds {held} and none of the other; "
            "neither training nor an AUC is possible: give the source more scans"
        )


def _text(column: np.ndarray) -> np.ndarray:
    return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in column], dtype=np.str_)
