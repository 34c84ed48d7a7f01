"""Writes a phantom in the file layout of CAMELYON16: slides, outlines in XML, the test labels."""

from functools import partial
from pathlib import Path

import numpy as np

from mlp_med.errors import SourceError
from mlp_med.phantoms.release import Progress, Release, num_bytes, write_release, write_whole
from mlp_med.phantoms.slide_file import require_tifffile, write_slide
from mlp_med.phantoms.slide_paint import paint_slide
from mlp_med.phantoms.slide_plan import SlidePlan, plan_slide

PHANTOM_VERSION = 1
FEWEST_SLIDES = 20  # so that number 7 of both classes, which validate, are there
TEST_SHARE = 0.3
SLIDE_BYTES = 8_000_000
KINDS = ("normal", "tumor", "test")
FOLDERS = {
    "normal": "training/normal",
    "tumor": "training/tumor",
    "test": "testing/images",
}
ANNOTATIONS = {"tumor": "training/lesion_annotations", "test": "testing/lesion_annotations"}
TUMOUR_GROUP, CUT_OUT_GROUP = "_0", "_2"
DEPARTURES = (
    "a slide is about 0.9 mm wide, a real one 20 to 50 mm; it holds one piece of tissue",
    "half of the slides have metastases, which take more of the tissue than most real ones do",
    "tissue is nuclei, lumina and stroma: no capsule, fat, follicles, blood, folds or pen",
    "metastases differ from the rest only in how nuclei stand around lumina and in how chromatin "
    "lies in nuclei; real ones differ in nuclear size, density and colour as well",
    "every metastasis is outlined exactly, also on slides that the release annotates in part",
    "both pixel sizes, 0.243 and 0.226 µm, come with one camera, one focus and one lens",
)

SlideRows = list[str]


def write_camelyon16(
    out: Path | str,
    *,
    num_slides: int,
    seed: int,
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, object]:
    """Writes `num_slides` slides with their annotations into the directory `out`.

    Three in ten are test slides; half of these and of the others have metastases. A slide depends
    on the seed and its name alone. Interrupted, it goes on from where it stopped, and what it
    writes is marked by PHANTOM.json, which lists the departures from real slides.

    Args:
        out: made if absent; else empty, or this very phantom.
        num_slides: at least 20; a slide takes about 5 MB.
        seed: 0 or more.
        num_workers: processes, at least 1; one for each core if None.
        progress: called as progress(slides done, num_slides).

    Returns:
        What PHANTOM.json says.

    Raises:
        SourceError: numbers that make no sense, `out` holds something else, the disk is or becomes
            full, or tifffile is not installed.
    """
    out = Path(out)
    if num_slides < FEWEST_SLIDES or seed < 0 or (num_workers is not None and num_workers < 1):
        raise SourceError(
            f"a phantom of slides needs num_slides ≥ {FEWEST_SLIDES}, seed ≥ 0 and "
            f"num_workers ≥ 1; got {num_slides}, {seed} and {num_workers}"
        )
    require_tifffile()
    release = Release(
        identity={
            "name": "camelyon16",
            "version": PHANTOM_VERSION,
            "seed": seed,
            "num_slides": num_slides,
        },
        departures=DEPARTURES,
        folders=[*FOLDERS.values(), *ANNOTATIONS.values()],
        scan_files=[f"{folder}/*.tif" for folder in FOLDERS.values()],
        scan_bytes=SLIDE_BYTES,
        num_scans=num_slides,
        draw=partial(_write_slide, out, seed, num_slides),
        finish=_finish,
    )
    return write_release(out, release, num_workers, progress)


def slide_name(num_slides: int, number: int) -> tuple[str, int, bool]:
    """Kind, number in the name (from 1), and whether there are metastases, of the n-th slide."""
    num_test = round(TEST_SHARE * num_slides)
    if number < num_test:
        return "test", number + 1, number % 2 == 0
    number -= num_test
    return KINDS[number % 2], number // 2 + 1, number % 2 == 1


def _write_slide(out: Path, seed: int, num_slides: int, number: int) -> SlideRows:
    """Writes a slide and its outlines unless they are there; its row of reference.csv, if any."""
    kind, in_name, has_tumour = slide_name(num_slides, number)
    name = f"{kind}_{in_name:03d}"
    path = out / FOLDERS[kind] / f"{name}.tif"
    if not path.exists():
        plan = plan_slide(seed, KINDS.index(kind), in_name, has_tumour=has_tumour)
        if has_tumour:
            write_whole(out / ANNOTATIONS[kind] / f"{name}.xml", annotation_xml(plan))
        write_slide(path, paint_slide(plan), plan.pixel_um)
    return [f"{name},{'Tumor' if has_tumour else 'Normal'}"] if kind == "test" else []


def annotation_xml(plan: SlidePlan) -> str:
    """The outlines as ASAP writes them: pixels of level 0, not closed."""
    named = [(TUMOUR_GROUP, outline) for outline in plan.lesions]
    named += [(CUT_OUT_GROUP, outline) for outline in plan.cut_outs]
    lines = ['<?xml version="1.0"?>', "<ASAP_Annotations>", "\t<Annotations>"]
    for number, (group, outline) in enumerate(named):
        lines.append(
            f'\t\t<Annotation Name="Annotation {number}" Type="Polygon" PartOfGroup="{group}" '
            'Color="#F4FA58">'
        )
        lines.append("\t\t\t<Coordinates>")
        points = np.round(outline / plan.pixel_um, 2).tolist()
        lines += [
            f'\t\t\t\t<Coordinate Order="{order}" X="{x:g}" Y="{y:g}" />'
            for order, (x, y) in enumerate(points)
        ]
        lines += ["\t\t\t</Coordinates>", "\t\t</Annotation>"]
    lines += ["\t</Annotations>", "\t<AnnotationGroups>"]
    for group in (TUMOUR_GROUP, CUT_OUT_GROUP):
        lines.append(f'\t\t<Group Name="{group}" PartOfGroup="None" Color="#00ff00">')
        lines += ["\t\t\t<Attributes />", "\t\t</Group>"]
    lines += ["\t</AnnotationGroups>", "</ASAP_Annotations>"]
    return "\n".join(lines) + "\n"


def _finish(out: Path, rows: list[SlideRows]) -> dict[str, object]:
    """Writes the test labels; what PHANTOM.json says of them."""
    reference = sorted(row for of_slide in rows for row in of_slide)
    write_whole(out / "testing/reference.csv", "\n".join(reference) + "\n")
    return {
        "num_tumour_slides": len(list(out.glob("*/lesion_annotations/*.xml"))),
        "num_bytes": num_bytes(out, [f"{folder}/*.tif" for folder in FOLDERS.values()]),
    }
