"""What a result depends on besides its cell: commit, code, versions, machine."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import mlp_med
from mlp_med.processor import processor_name

# The rooms whose code decides a prediction. A change in a report or in the command line does not.
ROOMS_THAT_MATTER = ("imaging", "pipelines", "models", "training")
# The modules of the evidence that decide a verdict from predictions.
EVIDENCE_THAT_MATTERS = (
    "claim",
    "clustered",
    "contrast",
    "controls",
    "metrics",
    "predictions",
    "resampling",
    "variance",
)
# The builders that a builder is made from besides its own folder.
MADE_FROM = {"luna16_fields": ("luna16",)}
VERSIONS = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "SimpleITK", "tensorflow-datasets")


@functools.cache
def code_digest(dataset: str) -> str:
    """16 hexadecimal digits over the sources that decide a prediction on this dataset."""
    folders = [_builders() / name for name in (dataset, *MADE_FROM.get(dataset, ()))]
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    own = [path for path in sources if not path.stem.endswith("_test")]
    return _digest([*_common_sources(), *own])


@functools.cache
def common_code_digest() -> str:
    """16 hexadecimal digits over those of them that every dataset shares."""
    return _digest(_common_sources())


def _common_sources() -> list[Path]:
    package = Path(mlp_med.__file__).parent
    sources = [path for room in ROOMS_THAT_MATTER for path in (package / room).rglob("*.py")]
    sources += _builders().glob("*.py")
    alone = ("__init__", "cores", "processor", "score_columns", "evidence/metrics")
    sources += [package / f"{name}.py" for name in alone]
    sources += [
        package / "studies" / f"{name}.py" for name in ("worker", "cell", "cell_result", "minimum")
    ]
    return sources


def _builders() -> Path:
    return Path(mlp_med.__file__).parent.parent / "tfds_builders"


@functools.cache
def evidence_digest() -> str:
    """16 hexadecimal digits over the sources that turn predictions into a verdict."""
    room = Path(mlp_med.__file__).parent / "evidence"
    return _digest([room / f"{name}.py" for name in EVIDENCE_THAT_MATTERS])


def _digest(sources: list[Path]) -> str:
    root = Path(mlp_med.__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def git_commit() -> str:
    """The commit of this checkout, with "+changes" if files differ from it; "unknown" outside."""
    root = Path(mlp_med.__file__).parent.parent
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}+changes" if changes else commit


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def environment() -> dict[str, str]:
    """Versions and machine, by the names of the ledger's tags."""
    tags = {"python": platform.python_version(), "processor": processor_name()}
    tags["num_cores"] = str(len(os.sched_getaffinity(0)))
    for name in VERSIONS:
        try:
            tags[f"version.{name}"] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return tags
