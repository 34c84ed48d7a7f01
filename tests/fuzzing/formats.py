"""Every format that is read: tiny sound files of it, and the project's readers of them."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from mlp_med.imaging.dicom_series import read_series, read_series_header
from mlp_med.imaging.formats import read_image, read_image_header
from mlp_med.imaging.radiograph import read_radiograph, read_radiograph_header
from mlp_med.imaging.volume import read_volume
from mlp_med.phantoms.metaimage import write_metaimage
from tests.fuzzing.cases import Case
from tests.fuzzing.dicom import RADIOGRAPH_SYNTAXES, SERIES_SYNTAXES, write_one, write_some


@dataclass(frozen=True)
class Format:
    """What is fuzzed as one: `draw` writes its sound files into a folder."""

    draw: Callable[[Path], list[Case]]


def any_image(path: Path) -> Callable[[], object]:
    """Reads it as a row of a user's csv file would have it read."""

    def read() -> object:
        header = read_image_header(path)
        return read_image(header if header.spacing_mm else header.with_spacing(0.5))

    return read


def voxels() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 400, (4, 6, 5), dtype=np.int16)


def image() -> sitk.Image:
    drawn = sitk.GetImageFromArray(voxels())
    drawn.SetSpacing((0.7, 0.7, 1.25))
    drawn.SetOrigin((-20.0, -30.0, -40.0))
    return drawn


def mhd(folder: Path) -> list[Case]:
    plain, packed = folder / "plain.mhd", folder / "packed.mhd"
    write_metaimage(plain, voxels(), origin_mm=(-2.0, -3.0, -4.0), spacing_mm=(0.7, 0.7, 1.25))
    header = plain.read_text().replace("CompressedData = False", "CompressedData = True")
    packed.write_text(header.replace("plain.raw", "packed.zraw"))
    (folder / "packed.zraw").write_bytes(zlib.compress((folder / "plain.raw").read_bytes()))
    return [
        *(Case(path, lambda path=path: read_volume(path), text=True) for path in (plain, packed)),
        Case(plain, any_image(plain), text=True),
        Case(folder / "packed.zraw", lambda: read_volume(packed)),
    ]


def mha(folder: Path) -> list[Case]:
    cases = []
    for name in ("plain", "packed"):
        path = folder / f"{name}.mha"
        sitk.WriteImage(image(), str(path), useCompression=name == "packed")
        cases += [Case(path, lambda path=path: read_volume(path), text=True)]
        cases += [Case(path, any_image(path), text=True)]
    return cases


def by_simpleitk(*names: str) -> Callable[[Path], list[Case]]:
    def draw(folder: Path) -> list[Case]:
        for name in names:
            compressed = name.endswith(".nrrd")
            sitk.WriteImage(image(), str(folder / name), useCompression=compressed)
        return [Case(folder / name, any_image(folder / name)) for name in names]

    return draw


def flat_images(folder: Path) -> list[Case]:
    rgb = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    paths = []
    for suffix in (".png", ".tif", ".jpg", ".bmp"):
        for name, pixels in (("rgb", rgb), ("grey", rgb[..., 0])):
            paths.append(folder / f"{name}{suffix}")
            Image.fromarray(pixels).save(paths[-1])
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        paths.append(folder / f"{compression}.tif")
        Image.fromarray(rgb).save(paths[-1], compression=compression)
    return [Case(path, any_image(path)) for path in paths]


def dicom_series(folder: Path) -> list[Case]:
    cases = []
    for syntax in SERIES_SYNTAXES:
        series = folder / syntax
        paths = write_some(series, syntax)
        cases.append(Case(paths[1], lambda series=series: read_series(read_series_header(series))))
    cases.append(Case(cases[0].file, any_image(cases[0].file.parent)))
    return cases


def radiographs(folder: Path) -> list[Case]:
    cases = []
    for syntax in RADIOGRAPH_SYNTAXES:
        path = write_one(folder / f"{syntax}.dcm", syntax)
        cases.append(Case(path, lambda path=path: read_radiograph(read_radiograph_header(path))))
    cases.append(Case(cases[0].file, any_image(cases[0].file)))
    return cases


def slides(folder: Path) -> list[Case]:
    from mlp_med.imaging.slide import opened, read_field, read_header, read_overview, render_field
    from mlp_med.phantoms.slide_file import write_slide

    path = folder / "slide.tif"
    y, x = np.indices((420, 500)) / 500
    write_slide(path, np.stack([250 * x, 250 * y, 200 * x * y], -1).astype(np.uint8), 0.243)

    def read() -> None:
        header = read_header(path)
        x_um, y_um = header.extent_um
        centre = (x_um / 2, y_um / 2)
        with opened(path) as slide:
            read_overview(slide, header, 8.0)
            field = read_field(slide, header, centre, 31.104, 1.944)
        render_field(field, centre, 31.104, 0.486)

    return [Case(path, read)]


def annotations(folder: Path) -> list[Case]:
    from tests.fuzzing.tables import ANNOTATIONS
    from tfds_builders.camelyon16.annotations import read_annotations, tumour_masks

    path = folder / "tumor_001.xml"
    path.write_text(ANNOTATIONS)

    def read() -> None:
        found = read_annotations(path)
        tumour_masks(found.outlines, (0.243, 0.243), (60, 80), 8.0)

    return [Case(path, read, text=True)]


def parquet(folder: Path) -> list[Case]:
    from mlp_med.evidence.foreign import read_predictions
    from mlp_med.ledger.predictions import read_predictions as read_logged
    from tests.fuzzing.tables import predictions

    cases = []
    for compression in (None, "snappy", "gzip"):
        path, logged = folder / f"{compression}.parquet", folder / f"logged-{compression}.parquet"
        predictions().to_parquet(path, compression=compression, index=False)
        predictions()[:8].to_parquet(logged, compression=compression, index=False)
        cases += [
            Case(path, lambda path=path: read_predictions(path, "a")),
            Case(logged, lambda logged=logged: read_logged(logged, "run", None)),
        ]
    return cases


def table_files(folder: Path) -> list[Case]:
    from tests.fuzzing import tables  # with TFDS, which takes seconds

    return tables.draw(folder)


def record_files(folder: Path) -> list[Case]:
    from tests.fuzzing import records

    return records.draw(folder)


FORMATS = {
    "MetaImage .mhd + .raw, .zraw": Format(mhd),
    "MetaImage .mha": Format(mha),
    "NIfTI": Format(by_simpleitk("a.nii", "a.nii.gz")),
    "NRRD": Format(by_simpleitk("a.nrrd")),
    "PNG, TIFF, JPEG, BMP": Format(flat_images),
    "DICOM series": Format(dicom_series),
    "DICOM radiograph": Format(radiographs),
    "whole slide (TIFF)": Format(slides),
    "XML annotations": Format(annotations),
    "csv": Format(table_files),
    "Parquet": Format(parquet),
    "JSON, TOML": Format(record_files),
}
