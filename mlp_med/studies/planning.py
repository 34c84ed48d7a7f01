"""From arms and a built dataset to a study: every cell named before anything trains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from mlp_med.errors import DatasetError, StudyError
from mlp_med.evidence.claim import Claim
from mlp_med.pipelines.arrays import SPLITS, Examples, read_builder
from mlp_med.pipelines.folds import FEWEST_FOLDS, OWN_SPLITS
from mlp_med.studies.arm import Arm
from mlp_med.studies.cell import Cell, ScoredSplit
from mlp_med.studies.pilot import PilotResult
from mlp_med.studies.provenance import code_digest, common_code_digest
from mlp_med.studies.study import DatasetInfo, Study


@dataclass(frozen=True)
class OpenedDataset:
    """A dataset that is built at every resolution that a study needs.

    Attributes:
        info: where it is and what it was made of.
        digests: of its examples, by resolution.
        num_workers: that every cell on it spans.
    """

    info: DatasetInfo
    digests: Mapping[float, str]
    num_workers: int = 1

    def cell(
        self,
        arm: Arm,
        seed: int,
        precision: str,
        *,
        fold: int = OWN_SPLITS,
        scored_split: ScoredSplit = "test",
    ) -> Cell:
        """The cell of an arm on this dataset.

        Raises:
            StudyError: its batch is larger than its training set.
        """
        num_training = int(self.info.num_cases["train"] * arm.training_fraction)
        if arm.global_batch_size > num_training:
            raise StudyError(
                f"expected batches of at most the {num_training:,} crops of the training set of "
                f"{self.info.name}, got {arm.global_batch_size:,} ({arm.name}); take a smaller "
                "batch or more scans"
            )
        return arm.cell(
            dataset=self.info.name,
            dataset_digest=self.digests[arm.resolution],
            precision=cast(Literal["float32", "mixed_bfloat16"], precision),
            seed=seed,
            fold=fold,
            num_workers=self.num_workers,
            scored_split=scored_split,
        )


def plan_study(
    *,
    name: str,
    size: str,
    claim: Claim,
    claims: Sequence[Claim] = (),
    arms: Sequence[Arm],
    num_seeds: int,
    dataset: OpenedDataset,
    precision: str,
    cross_validated: bool = False,
    pilot: PilotResult | None = None,
    pilot_command: str = "",
    no_verdict_reason: str | None = None,
) -> Study:
    """Plans a study.

    Cells that take long come first: when the last ones run, no core waits long for them.

    Args:
        name: of the experiment file.
        size: "smoke", "small" or "full".
        claim: what the study decides.
        claims: all of them where it decides several, `claim` first; else empty.
        arms: what it compares.
        num_seeds: seeds an arm.
        dataset: opened at every resolution of the arms.
        precision: of every cell.
        cross_validated: each seed trains a cell for each fold of the dataset, where it has folds.
        pilot: what chose the arms' learning rates and budget; None where nothing is claimed.
        pilot_command: what records the pilot of its phantom.
        no_verdict_reason: why this size claims nothing, or None.

    Raises:
        StudyError: no seed was asked for.
    """
    if num_seeds < 1:
        raise StudyError(f"expected at least 1 seed, got {num_seeds}; 5 give a full verdict")
    if pilot is not None:
        arms = pilot.applied_to(arms)
    settings_of = {arm.name: arm.settings_of for arm in arms if arm.settings_of}
    folds = dataset.info.folds if cross_validated and dataset.info.folds else (OWN_SPLITS,)
    named_cells = [
        (arm.name, dataset.cell(arm, seed, precision, fold=fold))
        for arm in sorted(arms, key=lambda arm: arm.grid)
        for seed in range(num_seeds)
        for fold in folds
    ]
    _refuse_same_cells(named_cells)
    return Study(
        name=name,
        size=size,
        claim=claim,
        claims=tuple(claims),
        cells=tuple(cell for _, cell in named_cells),
        arm_names={cell.hash: arm for arm, cell in named_cells},
        dataset_info=dataset.info,
        code_digest=code_digest(dataset.info.name),
        common_code_digest=common_code_digest(),
        no_verdict_reason=no_verdict_reason,
        pilot={**pilot.to_dict(), "settings_of": settings_of} if pilot else None,
        pilot_command=pilot_command,
    )


def _refuse_same_cells(named_cells: Sequence[tuple[str, Cell]]) -> None:
    """Two arms of the same cells would have one result between them."""
    arm_of: dict[str, str] = {}
    for arm, cell in named_cells:
        other = arm_of.setdefault(cell.hash, arm)
        if other != arm:
            raise StudyError(
                f"expected arms that differ, but {other!r} and {arm!r} train the same cells; give "
                "one of them another budget in the experiment file"
            )


def open_dataset(
    dataset: str,
    resolutions: Sequence[float],
    data_dir: Path,
    source: Path | None,
    **options: Any,
) -> OpenedDataset:
    """Opens every resolution.

    Args:
        dataset: name of the TFDS builder.
        resolutions: mm a voxel (µm a pixel).
        data_dir: TFDS's data directory.
        source: where the dataset must have come from; None to take it as it was built.
        **options: that it must have been built with.

    Raises:
        DatasetError: a resolution is not built, or was built from another source or otherwise.
    """
    import tfds_builders

    builders = {
        resolution: tfds_builders.open_config(dataset, resolution, data_dir, source, **options)
        for resolution in sorted(set(resolutions))
    }
    metadata = {resolution: builder.info.metadata for resolution, builder in builders.items()}
    sources = {str(found["source_digest"]) for found in metadata.values()}
    if len(sources) > 1:
        raise DatasetError(
            f"the resolutions of {dataset} in {data_dir} come from different sources; "
            "build them again into an empty data directory"
        )
    digests = {resolution: str(found["examples_digest"]) for resolution, found in metadata.items()}
    coarsest = max(builders)  # the quickest to read, and the cases are the same at every one
    splits = {split: read_builder(builders[coarsest], split, with_images=False) for split in SPLITS}
    patients = {name: len(set(split.patients) - {""}) for name, split in splits.items()}
    info = DatasetInfo(
        name=dataset,
        data_dir=str(Path(data_dir).absolute()),
        source=str(source.absolute()) if source else str(metadata[coarsest].get("source", "")),
        source_digest=sources.pop(),
        phantom=splits["test"].phantom,
        unit=str(metadata[coarsest]["unit"]),
        num_cases={name: len(split) for name, split in splits.items()},
        num_positive={name: _num_positive(split) for name, split in splits.items()},
        num_patients=patients if all(patients.values()) else None,
        folds=_usable_folds(list(splits.values())),
        task=str(metadata[coarsest].get("options", {}).get("task", "")),
        num_classes=len(set(splits["test"].labels.tolist())),
    )
    return OpenedDataset(info, digests)


def _num_positive(split: Examples) -> int:
    """Examples of label 1; of more than two classes those of the scarcest."""
    counts = np.bincount(split.labels)
    return int(counts[1] if len(counts) == 2 else counts.min())


def _usable_folds(splits: Sequence[Examples]) -> tuple[int, ...]:
    """The dataset's folds, if there are enough of them and each holds every class; else none."""
    held = {
        pair
        for split in splits
        for pair in zip(split.folds.tolist(), split.labels.tolist(), strict=True)
    }
    folds = sorted({fold for fold, _ in held} - {OWN_SPLITS})
    labels = {label for _, label in held}
    whole = all((fold, label) in held for fold in folds for label in labels)
    return tuple(folds) if whole and len(folds) >= FEWEST_FOLDS else ()
