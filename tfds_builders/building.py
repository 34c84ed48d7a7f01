"""Builds several resolutions of a dataset at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from mlp_med.cores import available_cores
from tfds_builders.beam_options import pipeline_options, require_runner
from tfds_builders.local_source_builder import LocalSourceBuilder, logger
from tfds_builders.rendering import Progress
from tfds_builders.scratch import (
    disk_full_said_so,
    exclusive_build,
    remove_crop_store,
    remove_leftovers,
)


def build_configs(
    builder_class: type[LocalSourceBuilder],
    source: Path | str,
    data_dir: Path | str,
    resolutions: Sequence[float] | None = None,
    num_workers: int | None = None,
    progress: Progress | None = None,
    beam_runner: str | None = None,
    beam_options: Sequence[str] = (),
    **options: Any,
) -> list[LocalSourceBuilder]:
    """Builds several resolutions of a dataset, reading each file of the source once.

    What is built already stays; a build that was killed goes on from its finished crops.

    Args:
        builder_class: the dataset.
        source: directory of the release.
        data_dir: TFDS's data directory.
        resolutions: which; all by default.
        num_workers: processes that render; as many as there are cores by default.
        progress: told how far it is.
        beam_runner: name of the Apache Beam runner whose workers render and write instead of
            `num_workers` processes.
        beam_options: its settings, as in "direct_num_workers=2".
        **options: of the dataset; its defaults otherwise.

    Returns:
        One opened builder a resolution.

    Raises:
        SourceError: the source has problems; nothing was written.
        DatasetError: an unknown resolution; another source or other options in `data_dir`; the disk
            is full; a Beam runner is not installed, unknown, or failed.
    """
    tfds.disable_progress_bar()  # `progress` is told instead
    source, data_dir = (Path(path).expanduser().absolute() for path in (source, data_dir))
    wanted, options = builder_class.plan_build(source, data_dir, resolutions, options)
    builders = [
        builder_class(
            config=builder_class.config_at(resolution),
            source=source,
            data_dir=data_dir,
            num_workers=num_workers or available_cores(),
            progress=progress,
            **options,
        )
        for resolution in wanted
    ]
    if all(builder.is_built() for builder in builders):
        return builders
    if beam_runner is not None:
        runner = require_runner(beam_runner)
        for builder in builders:
            builder.use_beam(runner, pipeline_options(beam_options))
    builders[0].check_source()
    with exclusive_build(data_dir, builder_class.name):
        for leftover in remove_leftovers(data_dir, builder_class.name):
            logger.warning("removed %s, left behind by a build that was killed", leftover)
        missing = [builder for builder in builders if not builder.found_built()]
        if missing:
            with disk_full_said_so(data_dir):
                builders[0].prepare_crops(missing)
        for done, builder in enumerate(missing, start=1):
            builder.write()
            builder.progress("writing resolutions", done, len(missing))
        remove_crop_store(data_dir, builder_class.name)
    return builders
