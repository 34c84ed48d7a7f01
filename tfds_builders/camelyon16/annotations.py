"""Outlines of metastases, as ASAP writes them in XML, and the masks that they stand for.

ASAP's polygons are closed without saying so: the last point is joined to the first. The release's
groups `_0` and `_1` are tumour, `_2` is what was cut out of it again; the test slides' files call
them `Tumor` and `Exclusion`. Coordinates are pixels of level 0.
"""

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import numpy as np
from PIL import Image, ImageDraw

from mlp_med.errors import SourceError

TUMOUR, CUT_OUT, UNKNOWN = "tumour", "cut out", "unknown"
KINDS = {"_0": TUMOUR, "_1": TUMOUR, "Tumor": TUMOUR, "_2": CUT_OUT, "Exclusion": CUT_OUT}
AREAS = ("Polygon", "Spline", "Rectangle")  # what has an inside
FEWEST_POINTS = 3


@dataclass(frozen=True, eq=False)
class Outline:
    """One closed outline.

    Attributes:
        kind: TUMOUR, CUT_OUT, or UNKNOWN where its group is none of the release's.
        group: as in the file.
        points: float64 [n, 2], x and y in pixels of level 0, n ≥ 3.
        line: where it begins in the file.
    """

    kind: str
    group: str
    points: np.ndarray
    line: int


@dataclass
class Annotations:
    """What a file of annotations holds.

    Attributes:
        outlines: those that enclose something.
        empty: lines of annotations that enclose nothing: no points, fewer than three, or of a type
            without an inside.
    """

    outlines: list[Outline] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)

    def of(self, kind: str) -> list[Outline]:
        """The outlines of one kind."""
        return [outline for outline in self.outlines if outline.kind == kind]


class _Reader:
    """Collects annotations while expat reads the file; knows the line at every step."""

    def __init__(self, path: Path):
        self._path = path
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._root: str | None = None
        self._current: tuple[dict[str, str], int] | None = None
        self._points: list[tuple[float, float]] = []
        self.found = Annotations()

    def read(self) -> Annotations:
        try:
            self._parser.Parse(self._path.read_bytes(), True)
        except OSError as error:
            raise SourceError(f"{self._path}: cannot be read ({error.strerror})") from error
        except expat.ExpatError as error:
            raise SourceError(
                f"{self._path} line {error.lineno}: is no whole XML file "
                f"({expat.errors.messages[error.code]}); copy it again"
            ) from error
        return self.found

    def _refuse_doctype(self, *_: object) -> None:
        # Entities are declared there, and nothing that ASAP writes needs one.
        raise self._error("expected ASAP's annotations, found a document type declaration")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._root is None:
            self._root = name
            if name != "ASAP_Annotations":
                raise self._error(f"expected <ASAP_Annotations> as the root, found <{name}>")
        if name == "Annotation":
            self._current, self._points = (attributes, self._parser.CurrentLineNumber), []
        elif name == "Coordinate" and self._current:
            self._points.append((self._number(attributes, "X"), self._number(attributes, "Y")))

    def _end(self, name: str) -> None:
        if name != "Annotation" or self._current is None:
            return
        (attributes, line), self._current = self._current, None
        has_inside = attributes.get("Type", "Polygon") in AREAS
        points = np.array(self._points, dtype=np.float64).reshape(-1, 2)
        if not has_inside or len(np.unique(points, axis=0)) < FEWEST_POINTS:
            self.found.empty.append(line)
            return
        group = attributes.get("PartOfGroup", "")
        self.found.outlines.append(Outline(KINDS.get(group, UNKNOWN), group, points, line))

    def _number(self, attributes: dict[str, str], name: str) -> float:
        try:
            value = float(attributes[name])
        except (KeyError, ValueError):
            value = np.nan
        if not np.isfinite(value):
            raise self._error(
                f"expected a finite number for {name} of a coordinate, "
                f"found {attributes.get(name)!r}"
            )
        return value

    def _error(self, message: str) -> SourceError:
        return SourceError(f"{self._path} line {self._parser.CurrentLineNumber}: {message}")


def read_annotations(path: Path) -> Annotations:
    """Reads a file of annotations; entities of any sort are refused, none is fetched or expanded.

    Raises:
        SourceError: no ASAP annotations, a coordinate that is no finite number; names the line.
    """
    return _Reader(path).read()


def tumour_masks(
    outlines: list[Outline],
    pixel_um: tuple[float, float],
    shape: tuple[int, int],
    mask_um: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Where tumour is annotated, and where nobody can say, on a grid over the slide.

    Args:
        outlines: of one slide.
        pixel_um: edge of a pixel of level 0 along x and y.
        shape: (height, width) of the masks.
        mask_um: edge of a pixel of the masks.

    Returns:
        Two bool [height, width]: tumour (its outlines less the cut-outs; a pixel that an outline
        touches belongs to it) and unknown (outlines of an unknown group).
    """
    scale = np.asarray(pixel_um) / mask_um
    tumour = _filled([o for o in outlines if o.kind == TUMOUR], scale, shape)
    cut_out = _filled([o for o in outlines if o.kind == CUT_OUT], scale, shape)
    unknown = _filled([o for o in outlines if o.kind == UNKNOWN], scale, shape)
    return tumour & ~cut_out, unknown


def _filled(outlines: list[Outline], scale: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    image = Image.new("1", (shape[1], shape[0]))
    draw = ImageDraw.Draw(image)
    for outline in outlines:
        # Pillow's pixel centres are whole numbers; ours lie half a pixel from the corner.
        points = outline.points * scale - 0.5
        draw.polygon([tuple(point) for point in points.tolist()], fill=1, outline=1)
    return np.array(image, dtype=bool)
