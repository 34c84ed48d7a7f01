"""MONAI's and TorchIO's half of crop_throughput.py: crops of a scan, in their own process.

Reads one JSON line on standard input, {"scan", "centres_mm", "extent_mm", "spacings_mm", "library",
"out"}, writes the crops to the .npz file `out` as "0", "1", … by spacing, each [k, z, y, x], and
answers with the seconds from the file to the crops. Needs MONAI, TorchIO and SimpleITK.
"""

import json
import sys
import time

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch

PADDING_HU = -1000.0


def with_monai(request: dict) -> list[np.ndarray]:
    """Load, `Spacing` of the whole scan once a resolution, then a crop of fixed size a centre."""
    from monai.data import MetaTensor
    from monai.transforms import BorderPad, Spacing, SpatialCrop

    image = sitk.ReadImage(request["scan"], sitk.sitkFloat32)
    # Axes z, y, x: affine in that order, so that positions need no flip to RAS.
    affine = np.diag([*image.GetSpacing()[::-1], 1.0])
    affine[:3, 3] = image.GetOrigin()[::-1]
    scan = MetaTensor(torch.from_numpy(sitk.GetArrayFromImage(image))[None], affine=affine)
    crops = []
    for spacing_mm in request["spacings_mm"]:
        size = round(request["extent_mm"] / spacing_mm)
        resampled = Spacing(pixdim=[spacing_mm] * 3, mode="bilinear", padding_mode="border")(scan)
        origin = resampled.affine[:3, 3].numpy()
        padded = BorderPad(size, constant_values=PADDING_HU)(resampled)
        found = []
        for x, y, z in request["centres_mm"]:
            middle = (np.array([z, y, x]) - origin) / spacing_mm - (size - 1) / 2
            first = np.rint(middle).astype(int) + size
            crop = SpatialCrop(roi_start=first, roi_end=first + size)(padded)
            found.append(crop[0].numpy())
        crops.append(np.stack(found))
    return crops


def with_torchio(request: dict) -> list[np.ndarray]:
    """`ScalarImage`, `Resample` of the whole scan once a resolution, then cuts of fixed size."""
    import torchio

    image = sitk.ReadImage(request["scan"], sitk.sitkFloat32)
    scan = torchio.ScalarImage.from_sitk(image)
    crops = []
    for spacing_mm in request["spacings_mm"]:
        size = round(request["extent_mm"] / spacing_mm)
        resampled = torchio.Resample(spacing_mm)(scan).as_sitk()
        origin = np.array(resampled.GetOrigin())
        values = np.pad(sitk.GetArrayFromImage(resampled), size, constant_values=PADDING_HU)
        found = []
        for centre in request["centres_mm"]:
            middle = (np.array(centre) - origin) / spacing_mm - (size - 1) / 2
            x, y, z = np.rint(middle).astype(int) + size
            found.append(values[z : z + size, y : y + size, x : x + size])
        crops.append(np.stack(found))
    return crops


def main() -> None:
    """Answers requests until standard input ends."""
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    for line in sys.stdin:
        request = json.loads(line)
        cut = {"MONAI": with_monai, "TorchIO": with_torchio}[request["library"]]
        began = time.perf_counter()
        crops = cut(request)
        seconds = time.perf_counter() - began
        np.savez(request["out"], **{str(i): crop for i, crop in enumerate(crops)})
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
