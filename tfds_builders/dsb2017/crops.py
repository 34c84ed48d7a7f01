"""Renders the field about the lungs of one patient at all wanted resolutions, in one reading.

Runs in worker processes: imports neither TensorFlow nor anything slow.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlp_med.errors import ImageError
from mlp_med.imaging.crop import AIR_HU
from mlp_med.imaging.dicom_series import read_series
from mlp_med.imaging.hounsfield import render_hounsfield
from mlp_med.imaging.lungs import lung_centre
from mlp_med.imaging.volume import Volume
from tfds_builders.crop_files import write_whole
from tfds_builders.dsb2017.scans import read_ct_header


@dataclass(frozen=True)
class RenderJob:
    """One patient's folder, and the file that each resolution goes to.

    Attributes:
        folder: of the slices.
        field_mm: edge of the cubic field.
        targets: resolution in mm and file, for those that are not there yet. The centre goes to
            the `centre_file` beside it.
    """

    folder: Path
    field_mm: float
    targets: tuple[tuple[float, Path], ...]


def render_exam(job: RenderJob) -> RenderJob:
    """Writes one file int16 [z, y, x] a resolution; each appears whole or not at all.

    Raises:
        ImageError: the scan cannot be used, or shows no lungs.
        OSError: the files cannot be written.
    """
    volume, centre = read_chest(job.folder)
    for spacing_mm, target in job.targets:
        write_whole(centre_file(target), centre)
        crops = render_hounsfield(volume, centre[np.newaxis], job.field_mm, spacing_mm)
        write_whole(target, crops[0])
    return job


def read_chest(folder: Path) -> tuple[Volume, np.ndarray]:
    """The CT in HU and the middle of its lungs, float64 [3] in mm (x, y, z), LPS.

    Raises:
        ImageError: the scan cannot be used, or shows no lungs.
    """
    volume = read_series(read_ct_header(folder), padding_as=AIR_HU)
    centre = lung_centre(volume)
    if centre is None:
        raise ImageError(
            f"{folder}: no lungs are found (expected 0.5 to 15 litres of air inside the body); is "
            "it a chest CT in HU? If not, take the patient out of the tables"
        )
    return volume, centre


def centre_file(target: Path) -> Path:
    """Where the centre of a crop file's field stands."""
    return target.with_name(f"{target.stem}-centre.npy")
