"""A TFDS builder of files that the user has: one config a resolution, and one source for ever."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from mlp_med.cores import available_cores
from mlp_med.errors import DatasetError
from tfds_builders.examples_digest import examples_digest
from tfds_builders.scratch import (
    crop_store,
    disk_full_said_so,
    exclusive_build,
    remove_crop_store,
    remove_leftovers,
)

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is to do."""


@dataclasses.dataclass(eq=False)
class ResolutionConfig(tfds.core.BuilderConfig):
    """The same examples, ids and splits as every other config, at one resolution.

    Attributes:
        resolution: mm a voxel, or µm a pixel.
        unit: "mm" or "um".
    """

    resolution: float = 0.0
    unit: str = ""


def resolution_configs(resolutions: Sequence[float], unit: str) -> list[ResolutionConfig]:
    """One config a resolution, finest first, named as in "1.25mm"."""
    return [
        ResolutionConfig(
            name=f"{resolution:g}{unit}",
            description=f"Crops rendered at {resolution:g} {unit}.",
            resolution=resolution,
            unit=unit,
        )
        for resolution in sorted(resolutions)
    ]


class LocalSourceBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """What the builders share: a dataset knows its source and is whole or not there.

    A subclass gives `_info` (with `metadata=tfds.core.MetadataDict()`), `source_digest`,
    `check_source`, `_split_generators` and `_generate_examples`; `prepare_crops` and
    `extra_metadata` where it has any.

    Args:
        source: directory of the release; needed to build, not to read what is built.
        num_workers: processes that render; 1 means none besides this one.
        progress: told how far a build is.
        options: choices that shape the examples; None for "whatever it was built with".
        **kwargs: of `tfds.core.GeneratorBasedBuilder`.

    Raises:
        DatasetError: the dataset in `data_dir` was built from another source or with other options.
    """

    # What a build takes where it is not told; reading takes whatever was built.
    DEFAULT_OPTIONS: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        *,
        source: str | Path | None = None,
        num_workers: int = 1,
        progress: Progress | None = None,
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
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

    def check_source(self) -> None:
        """Raises SourceError if no dataset can be built; called before anything is written."""
        raise NotImplementedError

    def prepare_crops(self, builders: "Sequence[LocalSourceBuilder]") -> None:
        """Renders, once for all `builders` (configs of this dataset), what they will read."""

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

    def download_and_prepare(self, **kwargs: Any) -> None:
        """Builds this config unless it is built; see `tfds.core.DatasetBuilder`.

        Raises:
            SourceError: the source has problems; nothing was written.
            DatasetError: the disk is full, or a sibling config came from another source.
        """
        if self.is_built():
            return
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


def built_metadata(
    data_dir: Path, dataset: str, config: str, version: Any
) -> dict[str, Any] | None:
    """The metadata of a built config, or None where it is not built."""
    folder = data_dir / dataset / config / str(version)
    if not (folder / "dataset_info.json").is_file():
        return None
    metadata = tfds.core.MetadataDict()
    metadata.load_metadata(folder)
    return metadata


def built_configs(data_dir: Path, dataset: str, version: Any) -> dict[str, dict[str, Any]]:
    """The metadata of every config of a dataset that is built, by its name."""
    found = (
        (folder.name, built_metadata(data_dir, dataset, folder.name, version))
        for folder in sorted((data_dir / dataset).glob("*"))
    )
    return {name: metadata for name, metadata in found if metadata is not None}


def build_configs(
    builder_class: type[LocalSourceBuilder],
    source: Path | str,
    data_dir: Path | str,
    resolutions: Sequence[float] | None = None,
    num_workers: int | None = None,
    progress: Progress | None = None,
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
        **options: of the dataset; its defaults otherwise.

    Returns:
        One opened builder a resolution.

    Raises:
        SourceError: the source has problems; nothing was written.
        DatasetError: an unknown resolution; another source or other options in `data_dir`; the disk
            is full.
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
