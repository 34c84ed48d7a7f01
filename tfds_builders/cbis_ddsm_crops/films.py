"""The DICOM files of a release: which is the mammogram, which the mask of a lesion.

In the folder of a lesion lie its mask, of the mammogram's size, and a cropped image. Their names
tell them apart in neither table (the columns come the other way round for calcifications, and in
some rows of each), nor do they survive every way of downloading; their sizes do.
"""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mlp_med.errors import ImageError
from mlp_med.imaging.radiograph import RadiographHeader, read_radiograph_header
from tfds_builders.letter_case import by_lower_case

SUFFIX = ".dcm"
COLLECTION = "CBIS-DDSM"  # the folder that the NBIA Data Retriever makes, in a manifest's folder
LARGEST_VALUE = 65_535
NOT_ON_DISK = "lesions whose mammogram is not on disk"
NO_MASK = "lesions without a mask of their mammogram's size"


@dataclass
class Films:
    """What was found of the files.

    Attributes:
        headers: of mammograms and masks, by path.
        film_of: the path of its mammogram, by id of the lesion.
        mask_of: the path of its mask, by id of the lesion.
        skipped: lesions left out, by reason.
        problems: what must be mended.
        warnings: what should be known.
    """

    headers: dict[Path, RadiographHeader] = field(default_factory=dict)
    film_of: dict[str, Path] = field(default_factory=dict)
    mask_of: dict[str, Path] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def skip(self, reason: str) -> None:
        """Counts a lesion that is left out."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


def find_films(root: Path, cases: pd.DataFrame) -> Films:
    """Finds mammogram and mask of every lesion, by their headers.

    Args:
        root: of the release.
        cases: of `case_tables.read_cases`.
    """
    films = Films()
    folders = _Folders(image_root(root, cases), films)
    for row in cases.itertuples():
        shown = folders.files(row.image_path)
        candidates = [*folders.files(row.mask_path), *folders.files(row.crop_path)]
        film = _film(films, shown, row)
        if film is None:
            continue
        masks = [
            path
            for path in dict.fromkeys(candidates)
            if (found := _header(films, path)) is not None
            and found.size == films.headers[film].size
            and path != film
        ]
        if len(masks) != 1:
            films.skip(NO_MASK if not masks else "lesions with several masks")
            continue
        films.film_of[row.id], films.mask_of[row.id] = film, masks[0]
    folders.tell_renamed()
    if len(cases) and not films.film_of and not films.problems:
        films.problems.append(
            f"{root}: expected folders such as {_folder(cases['image_path'].iloc[0])} with DICOM "
            "files, found none whose lesion can be used; put the images of the release there"
        )
    return films


def image_root(root: Path, cases: pd.DataFrame) -> Path:
    """The folder that holds those of the images; `root` itself where none does."""
    wanted = {_folder(path).lower() for path in cases["image_path"]}
    for folder in (root, root / COLLECTION, *sorted(root.glob(f"*/{COLLECTION}"))):
        if folder.is_dir() and any(below.name.lower() in wanted for below in folder.iterdir()):
            return folder
    return root


def list_files(root: Path, cases: pd.DataFrame) -> list[tuple[str, int]]:
    """Path below the images' folder and bytes of every DICOM file, sorted."""
    folder = image_root(root, cases)
    return sorted(
        (path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in folder.rglob("*")
        if path.suffix.lower() == SUFFIX
    )


class _Folders:
    """The folders of a release by name, also where upper and lower case differ."""

    def __init__(self, folder: Path, films: Films):
        self._folder, self._films = folder, films
        folders = [path for path in folder.iterdir() if path.is_dir()]
        self._exact = {path.name for path in folders}
        self._lower = by_lower_case(folders)
        self._files: dict[str, list[Path]] = {}
        self._renamed: dict[str, str] = {}

    def files(self, path: str) -> list[Path]:
        """The DICOM files in the folder with which a path of the tables begins."""
        wanted = _folder(path)
        if wanted not in self._files:
            name = self._name(wanted)
            below = (self._folder / name).rglob("*") if name else iter(())
            self._files[wanted] = sorted(p for p in below if p.suffix.lower() == SUFFIX)
        return self._files[wanted]

    def _name(self, wanted: str) -> str | None:
        if wanted in self._exact:
            return wanted
        alike = [path.name for path in self._lower.get(wanted.lower(), [])]
        if len(alike) > 1:
            self._films.problems.append(
                f"{self._folder}: expected the folder {wanted}, found {' and '.join(alike)}, which "
                "differ from it in upper and lower case only; keep one"
            )
            return None
        if alike:
            self._renamed[wanted] = alike[0]
            return alike[0]
        return None

    def tell_renamed(self) -> None:
        if self._renamed:
            wanted, found = next(iter(self._renamed.items()))
            self._films.warnings.append(
                f"{len(self._renamed):,} folders differ from the tables in upper and lower case "
                f"only, the first {found} for {wanted}: taken as meant"
            )


def _film(films: Films, shown: list[Path], row: object) -> Path | None:
    """The mammogram of a lesion, or None where it cannot be used, which is counted."""
    headers = {path: found for path in shown if (found := _header(films, path)) is not None}
    if not headers:
        if not shown:
            films.skip(NOT_ON_DISK)
        return None
    if len(headers) > 1:  # the series of the table, where folders are named so
        series = row.image_path.split("/")[-2]
        headers = {p: found for p, found in headers.items() if p.parent.name == series} or headers
    if len(headers) > 1:
        films.skip("lesions with several mammograms in their folder")
        return None
    path, header = next(iter(headers.items()))
    reason = _unfit(header, row.side, row.view)
    if reason:
        films.skip(reason)
        return None
    return path


def _unfit(header: RadiographHeader, side: str, view: str) -> str:
    """Why a film cannot be used although it can be read; "" if it can."""
    if header.body_part not in ("", "BREAST"):
        return f"lesions on a radiograph of another body part ({header.body_part.lower()})"
    if header.implant:
        return "lesions on a mammogram with an implant"
    if header.view and header.view != view:
        return f"lesions whose mammogram says that it is another view ({header.view})"
    if header.laterality in ("L", "R") and header.laterality != side[0]:  # of LEFT or RIGHT
        return f"lesions whose mammogram says that it is of the other breast ({header.laterality})"
    low, high = header.value_range
    if header.dtype == "float32" or low < 0 or high > LARGEST_VALUE:
        return "lesions on a mammogram whose values are not whole numbers of at most 16 bits"
    return ""


def _header(films: Films, path: Path) -> RadiographHeader | None:
    """Reads a header once; what is wrong with it is told once."""
    if path not in films.headers:
        try:
            films.headers[path] = read_radiograph_header(path)
        except ImageError as error:
            if str(error) not in films.problems:
                films.problems.append(str(error))
            return None
    return films.headers[path]


def _folder(path: str) -> str:
    return path.split("/")[0]
