"""What a source directory holds, lacks and would lose, before anything is built from it."""

from dataclasses import dataclass, field
from pathlib import Path

from mlp_med.cores import available_cores

UNITS = (("h", 3600), ("min", 60), ("s", 1))


@dataclass(frozen=True)
class SourceReport:
    """The answer of `check`; `str` of it is for people.

    Attributes:
        dataset: name of the dataset.
        source: the directory that was looked at.
        layout: which release its files follow.
        phantom: whether the files are synthetic.
        digest: digest of the source, as a dataset built from it would keep; "" if unknown.
        files: number of files of pixels or voxels, by folder.
        candidates: records in the tables, by class, before any is skipped.
        examples: examples a build would write, by split and then by class.
        skipped: records or files that a build would leave out, by reason.
        native: native spacing of the files in words; "" where there is none to read.
        crop_bytes: size of the crops by resolution, which is also that of the built dataset.
        build_core_seconds: what one core takes for a build at all resolutions, about; 0 if unknown.
        problems: what must be mended before a dataset can be built.
        warnings: what may be as it is, but should be known.
    """

    dataset: str
    source: Path
    layout: str = ""
    phantom: bool = False
    digest: str = ""
    files: dict[str, int] = field(default_factory=dict)
    candidates: dict[str, int] = field(default_factory=dict)
    examples: dict[str, dict[str, int]] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    native: str = ""
    crop_bytes: dict[str, int] = field(default_factory=dict)
    build_core_seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kind = " (PHANTOM: synthetic files, no patients)" if self.phantom else ""
        lines = [f"{self.dataset} in {self.source}: {self.layout}{kind}"]
        lines += _rows("files", self.files)
        lines += _rows("candidates", self.candidates)
        lines += _rows("examples", {name: _counts(of) for name, of in self.examples.items()})
        lines += _rows("skipped", {name: of for name, of in self.skipped.items() if of})
        lines += [f"native spacing: {self.native}"] if self.native else []
        lines += _rows(
            "size of the built dataset, and of the crops that building needs besides for a while",
            {name: f"{of / 1e6:,.1f} MB" for name, of in self.crop_bytes.items()},
        )
        lines += [_build_time(self.build_core_seconds)] if self.build_core_seconds else []
        lines += [f"digest: {self.digest}"] if self.digest else []
        lines += [f"warning: {text}" for text in self.warnings]
        lines += [f"problem: {text}" for text in self.problems]
        lines += ["nothing to mend" if not self.problems else "no dataset can be built yet"]
        return "\n".join(lines)


def _build_time(core_seconds: float) -> str:
    cores = available_cores()
    words = f"time of a build at all resolutions: about {_duration(core_seconds)} of one core"
    return f"{words}, {_duration(core_seconds / cores)} of the {cores} here" if cores > 1 else words


def _duration(seconds: float) -> str:
    """To two digits: no machine is known better than that."""
    unit, size = next((unit, size) for unit, size in UNITS if seconds >= size or size == 1)
    return f"{float(f'{seconds / size:.2g}'):,g} {unit}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())


def _rows(title: str, values: dict[str, object]) -> list[str]:
    if not values:
        return []
    shown = {
        name: f"{value:,}" if isinstance(value, int) else value for name, value in values.items()
    }
    return [f"{title}:", *(f"  {name}: {value}" for name, value in shown.items())]
