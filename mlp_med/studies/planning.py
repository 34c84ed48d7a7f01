"""From arms and a built dataset to a study: every cell named before anything trains."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mlp_med.errors import DatasetError, StudyError
from mlp_med.evidence.claim import Claim
from mlp_med.pipelines.arrays import SPLITS, load_split
from mlp_med.studies.arm import Arm
from mlp_med.studies.provenance import code_digest
from mlp_med.studies.study import DatasetInfo, Study


def plan_study(
    *,
    name: str,
    size: str,
    claim: Claim,
    arms: Sequence[Arm],
    num_seeds: int,
    dataset: str,
    data_dir: Path,
    source: Path | None,
    precision: Literal["float32", "mixed_bfloat16"],
    no_verdict_reason: str | None = None,
) -> Study:
    """Plans a study on a dataset that is built at every resolution of its arms.

    Cells that take long come first: when the last ones run, no core waits long for them.

    Args:
        name: of the experiment file.
        size: "smoke", "small" or "full".
        claim: what the study decides.
        arms: what it compares.
        num_seeds: seeds 0 … num_seeds − 1, each in every arm.
        dataset: name of the TFDS builder.
        data_dir: TFDS's data directory.
        source: where the dataset must have come from; None to take it as it was built.
        precision: of every cell.
        no_verdict_reason: why this size claims nothing, or None.

    Raises:
        StudyError: no seed was asked for.
        DatasetError: a resolution is not built, or was built from another source.
    """
    if num_seeds < 1:
        raise StudyError(f"expected at least 1 seed, got {num_seeds}; 5 give a full verdict")
    digests, info = _open_all(dataset, [arm.resolution for arm in arms], data_dir, source)
    named_cells = [
        (
            arm.name,
            arm.cell(
                dataset=dataset,
                dataset_digest=digests[arm.resolution],
                precision=precision,
                seed=seed,
            ),
        )
        for arm in sorted(arms, key=lambda arm: arm.grid)
        for seed in range(num_seeds)
    ]
    return Study(
        name=name,
        size=size,
        claim=claim,
        cells=tuple(cell for _, cell in named_cells),
        arm_names={cell.hash: arm for arm, cell in named_cells},
        dataset_info=info,
        code_digest=code_digest(),
        no_verdict_reason=no_verdict_reason,
    )


def _open_all(
    dataset: str, resolutions: Sequence[float], data_dir: Path, source: Path | None
) -> tuple[dict[float, str], DatasetInfo]:
    """Opens every resolution; the digests of their examples, and what they were made of."""
    import tfds_builders

    builders = {
        resolution: tfds_builders.open_config(dataset, resolution, data_dir, source)
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
    splits = {split: load_split(dataset, data_dir, coarsest, split) for split in SPLITS}
    patients = {name: len(set(split.patients) - {""}) for name, split in splits.items()}
    return digests, DatasetInfo(
        name=dataset,
        data_dir=str(Path(data_dir).absolute()),
        source=str(source.absolute()) if source else "",
        source_digest=sources.pop(),
        phantom=splits["test"].phantom,
        unit=str(metadata[coarsest]["unit"]),
        num_cases={name: len(split) for name, split in splits.items()},
        num_positive={name: int(split.labels.sum()) for name, split in splits.items()},
        num_patients=patients if all(patients.values()) else None,
    )
