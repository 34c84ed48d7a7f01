"""The catalogue of machines: what each has, and which document says so."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from mlp_med.capacity.amounts import parse_bytes
from mlp_med.errors import CapacityError

KINDS = ("cpu", "gpu", "accelerator")
PRECISIONS = {"float32": "float32_tflops", "mixed_bfloat16": "bfloat16_tflops"}


@dataclass(frozen=True, kw_only=True)
class Platform:
    """One machine.

    Attributes:
        name: by which it is asked for.
        title: for a reader.
        kind: "cpu" (a cell and its process share the memory), "gpu" or "accelerator" (the process
            and the crops stay on the host).
        memory_bytes: what a cell may use.
        bandwidth: of that memory, bytes a second; None if not known.
        peak_flops: operations a second by precision, a multiply-add counted as two; a precision is
            absent where the machine lacks it or nobody published a figure.
        link: bytes a second from where the crops lie to the device; None if they are there.
        power_w: at full load; None if not known.
        measured: whether the figures were measured, and not read off a data sheet.
        sources: the document, or the measurement, behind each figure.
    """

    name: str
    title: str
    kind: str
    memory_bytes: int
    bandwidth: float | None = None
    peak_flops: Mapping[str, float] = field(default_factory=dict)
    link: float | None = None
    power_w: float | None = None
    measured: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def holds_process(self) -> bool:
        """Whether the process itself lies in the memory that a cell uses."""
        return self.kind == "cpu"


def catalogue(extra: Path | None = None) -> dict[str, Platform]:
    """Every platform by its name.

    Args:
        extra: a file in the same form, whose platforms are added, such as `mlp-med platforms
            --measure --out FILE` writes of this machine.

    Raises:
        CapacityError: the file cannot be read, or a figure in it is missing, wrong or without a
            source.
    """
    shipped = resources.files("mlp_med.capacity").joinpath("platforms.toml").read_text("utf-8")
    found = _platforms(tomllib.loads(shipped), "platforms.toml")
    if extra is None:
        return found
    try:
        content = tomllib.loads(extra.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CapacityError(f"cannot read the platforms in {extra}: {error}") from error
    return found | _platforms(content, str(extra))


def find_platform(name: str, platforms: Mapping[str, Platform]) -> Platform:
    """The platform of that name.

    Raises:
        CapacityError: there is none.
    """
    if name not in platforms:
        raise CapacityError(f"there is no platform {name!r}; there are: {', '.join(platforms)}")
    return platforms[name]


def _platforms(content: Mapping[str, Any], where: str) -> dict[str, Platform]:
    return {name: _platform(name, entry, f"[{name}] in {where}") for name, entry in content.items()}


def _platform(name: str, entry: Any, where: str) -> Platform:
    if not isinstance(entry, Mapping) or entry.get("kind") not in KINDS or "title" not in entry:
        raise CapacityError(f"{where}: expected a title and a kind out of {', '.join(KINDS)}")
    figures = {key: value for key, value in entry.items() if isinstance(value, Mapping)}
    for key, figure in figures.items():
        if not figure.get("source") or "value" not in figure:
            raise CapacityError(f"{where}: {key} needs a value and a source")

    def number(key: str, scale: float) -> float | None:
        if key not in figures:
            return None
        value = figures[key]["value"]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value < math.inf:
            raise CapacityError(f"{where}: expected {key} to be a positive number, got {value!r}")
        return value * scale

    if "memory" not in figures:
        raise CapacityError(f"{where}: expected how much memory it has, got nothing")
    memory = figures["memory"]["value"]
    if not isinstance(memory, str) or not memory[-1:].isalpha():
        raise CapacityError(f'{where}: expected memory with its unit, as in "24GB", got {memory!r}')
    peaks = {precision: number(key, 1e12) for precision, key in PRECISIONS.items()}
    return Platform(
        name=name,
        title=str(entry["title"]),
        kind=entry["kind"],
        memory_bytes=parse_bytes(memory),
        bandwidth=number("bandwidth_gb_s", 1e9),
        peak_flops={precision: peak for precision, peak in peaks.items() if peak is not None},
        link=number("link_gb_s", 1e9),
        power_w=number("power_w", 1.0),
        measured=bool(entry.get("measured", False)),
        sources={key: str(figure["source"]) for key, figure in figures.items()},
    )
