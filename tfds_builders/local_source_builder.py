"""A TFDS builder of files that the user has: one config a resolution, and one source for ever."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from mlp_med.errors import DatasetError
from tfds_builders.beam_jobs import BeamRun, require_beam, run_under_beam
from tfds_builders.built_configs import built_configs, built_metadata
from tfds_builders.examples_digest import examples_digest
from tfds_builders.rendering import Progress, Rendering
from tfds_builders.resolution_configs import ResolutionConfig
from tfds_builders.scratch import (
    crop_store,
    disk_full_said_so,
    exclusive_build,
    remove_crop_store,
    remove_leftovers,
    require_free_space,
)
from tfds_builders.shards import plan_split, write_shard
from tfds_builders.stored_examples import StoredExample, read_stored

logger = logging.getLogger(__name__)


class LocalSourceBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """What the builders share: a dataset knows its source and is whole or not there.

    A subclass gives `_info` (with `metadata=tfds.core.MetadataDict()`), `source_digest`,
    `look_at_source`, `rendering` and `stored_examples`; `extra_metadata` where it has any.

    Where `download_and_prepare` is given a `tfds.download.DownloadConfig` with a `beam_runner`,
    its workers render and write, and no other process does.

    Args:
        source: directory of the release; needed to build, not to read what is built.
        num_workers: processes that render; 1 means none besides this one.
        progress: told how far a build is.
        options: choices that shape the examples; None for "whatever it was built with".
        survey: of the source with these options, where the caller has it.
        **kwargs: of `tfds.core.GeneratorBasedBuilder`.

    Raises:
        DatasetError: the dataset in `data_dir` was built from another source or with other options.
    """

    # What a build takes where it is not told; reading takes whatever was built.
    DEFAULT_OPTIONS: ClassVar[dict[str, Any]] = {}
    SPLITS: ClassVar[Sequence[str]] = ("train", "validation", "test")

    def __init__(
        self,
        *,
        source: str | Path | None = None,
        num_workers: int = 1,
        progress: Progress | None = None,
        options: dict[str, Any] | None = None,
        survey: Any = None,
        **kwargs: Any,
    ):
        self._survey = survey
        self._beam: BeamRun | None = None
        self._source = None if source is None else Path(source).expanduser().absolute()
        self._given_options = {k: v for k, v in (options or {}).items() if v is not None}
        self.options = {**self.DEFAULT_OPTIONS, **self._given_options}
        self.num_workers = num_workers
        self.progress: Progress = progress or (lambda what, done, total: None)
        super().__init__(**kwargs)
        self._refuse_mixtures(self._given_options)

    @property
    def source(self) -> Path:
        """The directory to build from."""
        if self._source is None:
            raise DatasetError(
                f"{self.name}/{self.builder_config.name} is not built in {self.data_dir_root}; "
                'name its source: tfds.load(…, builder_kwargs={"source": DIRECTORY}), or '
                f"mlp-med data build {self.name} --source DIRECTORY"
            )
        return self._source

    # What a subclass gives.

    def source_digest(self) -> str:
        """Digest of the source, cheap enough for every opening of the dataset."""
        raise NotImplementedError

    def look_at_source(self) -> Any:
        """A survey of the source with these options; slow, and asked for once.

        It has `require_sound`, which raises SourceError if no dataset can be built, `warnings`, and
        `crop_bytes` of a resolution; `warnings_at` a resolution where it has any.
        """
        raise NotImplementedError

    def rendering(self, builders: "Sequence[LocalSourceBuilder]") -> Rendering:
        """The crop files that `builders` (configs of this dataset) lack; outdated ones go."""
        raise NotImplementedError

    def stored_examples(self, split: str) -> Iterator[StoredExample]:
        """The examples of a split, their images in the crop files, which are there by now."""
        raise NotImplementedError

    def extra_metadata(self) -> dict[str, Any]:
        """What else the metadata of a config should keep; asked after it was written."""
        return {}

    @classmethod
    def config_at(cls, resolution: float) -> ResolutionConfig:
        """The config at `resolution`.

        Raises:
            DatasetError: there is none.
        """
        for config in cls.BUILDER_CONFIGS:
            if abs(config.resolution - resolution) < 1e-9:
                return config
        known = ", ".join(config.name for config in cls.BUILDER_CONFIGS)
        raise DatasetError(f"{cls.name} has no resolution {resolution:g}; it has {known}")

    @classmethod
    def plan_build(
        cls,
        source: Path,
        data_dir: Path,
        resolutions: Sequence[float] | None,
        options: dict[str, Any],
    ) -> tuple[Sequence[float], dict[str, Any]]:
        """Which resolutions a build makes, and what each builder is given besides the source."""
        del source, data_dir
        return resolutions or [config.resolution for config in cls.BUILDER_CONFIGS], options

    def crop_folder(self) -> Path:
        """Where the crops of this config wait to be written."""
        return crop_store(Path(self.data_dir_root), self.name) / self.builder_config.name

    # How a dataset comes to be.

    def survey(self) -> Any:
        """The source, looked at once."""
        if self._survey is None:
            self._survey = self.look_at_source()
        return self._survey

    def check_source(self) -> None:
        """Logs warnings; called before anything is written.

        Raises:
            SourceError: no dataset can be built.
        """
        survey = self.survey()
        survey.require_sound()
        for warning in survey.warnings:
            logger.warning("%s", warning)

    def prepare_crops(self, builders: "Sequence[LocalSourceBuilder]") -> None:
        """Renders what `builders` (configs of this dataset) lack, each file of the source once."""
        survey = self.survey()
        resolutions = [builder.builder_config.resolution for builder in builders]
        warnings_at = getattr(survey, "warnings_at", lambda _: [])
        for builder, resolution in zip(builders, resolutions, strict=True):
            builder._survey = survey
            for warning in warnings_at(resolution):
                logger.warning("%s", warning)
        rendering = self.rendering(builders)
        ready = sum(_bytes_in(builder.crop_folder()) for builder in builders)
        sizes = [survey.crop_bytes(resolution) for resolution in resolutions]
        # The crops still to render, the datasets, and TFDS's own scratch for the largest of them.
        needed = max(0, sum(sizes) - ready) + sum(sizes) + max(sizes)
        require_free_space(Path(self.data_dir_root), needed)
        rendering.run(self.num_workers, self.progress, self._beam)

    def use_beam(self, runner: Any, options: Any) -> None:
        """Lets a Beam runner do what worker processes do; see `beam_jobs`.

        Raises:
            DatasetError: Beam is not installed.
        """
        require_beam()
        self._beam = BeamRun(runner, options, crop_store(Path(self.data_dir_root), self.name))

    def download_and_prepare(self, **kwargs: Any) -> None:
        """Builds this config unless it is built; see `tfds.core.DatasetBuilder`.

        Raises:
            SourceError: the source has problems; nothing was written.
            DatasetError: the disk is full, a sibling config came from another source, or a Beam
                runner is asked for and fails or is not installed.
        """
        if self.is_built():
            return
        config = kwargs.get("download_config")
        if config is not None and config.beam_runner is not None:
            self.use_beam(config.beam_runner, config.beam_options)
        data_dir = Path(self.data_dir_root)
        with exclusive_build(data_dir, self.name):
            remove_leftovers(data_dir, self.name)
            if not self.found_built():
                self.check_source()
                with disk_full_said_so(data_dir):
                    self.prepare_crops([self])
                self.write(**kwargs)

    def is_built(self) -> bool:
        """Whether this config lies whole in the data directory."""
        data_dir = Path(self.data_dir_root)
        return (
            built_metadata(data_dir, self.name, self.builder_config.name, self.version) is not None
        )

    def found_built(self) -> bool:
        """Whether the config is built by now; if another process did so, its info is read."""
        self._refuse_mixtures(self.options)
        if not self.is_built():
            return False
        self.info.read_from_directory(self.data_dir)
        return True

    def write(self, **kwargs: Any) -> None:
        """Writes this config from its crops, then frees them; under `exclusive_build`."""
        data_dir = Path(self.data_dir_root)
        # Nothing is downloaded, but TFDS makes the folder; here it goes away with the crops.
        downloads = self.crop_folder() / "downloads"
        with disk_full_said_so(data_dir):
            super().download_and_prepare(**{"download_dir": downloads, **kwargs})
        remove_crop_store(data_dir, self.name, self.builder_config.name)

    def _log_download_bytes(self) -> None:
        """Says nothing: nothing is downloaded."""

    def _log_download_done(self) -> None:
        """Says nothing: nothing was downloaded."""

    def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
        super()._download_and_prepare(dl_manager, download_config)
        self.info.metadata.update(
            source=str(self.source),
            source_digest=self.source_digest(),
            examples_digest=examples_digest(self),
            unit=self.builder_config.unit,
            resolution=self.builder_config.resolution,
            **{"options": self.options, **self.extra_metadata()},
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        del dl_manager  # nothing is downloaded
        return {split: self._generate_examples(split) for split in self.SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        return read_stored(self.stored_examples(split), self.info.features["image"].shape)

    def _generate_splits(self, dl_manager: Any, download_config: Any) -> list[tfds.core.SplitInfo]:
        if self._beam is None:
            return super()._generate_splits(dl_manager, download_config)
        plans = [
            plan_split(
                list(self.stored_examples(split)),
                self.info.features,
                self.info.file_format,
                self._get_filename_template(split),
                download_config.get_shard_config(),
            )
            for split in self.SPLITS
        ]
        run_under_beam(write_shard, [shard for plan in plans for shard in plan.shards], self._beam)
        return [plan.info() for plan in plans]

    def option_as_built(self, name: str) -> Any:
        """As stated, else as a sibling was built, else the default."""
        if name not in self._given_options:
            siblings = built_configs(Path(self.data_dir_root), self.name, self.version)
            for built in siblings.values():
                self.options[name] = built["options"][name]
        return self.options[name]

    def _refuse_mixtures(self, options: dict[str, Any]) -> None:
        """Refuses a source or options other than those of any config built in this data_dir."""
        data_dir = Path(self.data_dir_root)
        digest = None
        for config, built in built_configs(data_dir, self.name, self.version).items():
            where = f"{self.name}/{config} in {data_dir}"
            for name, value in options.items():
                if value != built["options"].get(name):
                    raise DatasetError(
                        f"{where} was built with {name} = {built['options'].get(name)}, not "
                        f"{value}; say so as well, or choose another data directory"
                    )
            if self._source is None:
                continue
            digest = digest or self.source_digest()
            if digest != built["source_digest"]:
                raise DatasetError(
                    f"{where} was built from a source with digest {built['source_digest']}; "
                    f"{self._source} has {digest}. Choose another data directory for it, or remove "
                    f"{data_dir / self.name}"
                )


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.npy"))
