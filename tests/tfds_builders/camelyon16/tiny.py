"""A tiny source in CAMELYON16's layout: six slides a quarter of a millimetre wide, no one's."""

from pathlib import Path

import numpy as np

from mlp_med.phantoms.slide_file import write_slide

PIXELS = 1024
# By id: pixel size in µm, and whether there is tumour. Number 7 is for validation.
SLIDES = {
    "normal_001": (0.226, False),
    "tumor_001": (0.243, True),
    "normal_007": (0.243, False),
    "tumor_007": (0.226, True),
    "test_001": (0.226, True),
    "test_002": (0.243, False),
}
# In the upper left of the slide, in pixels, wider than high, so that x and y are told apart.
TUMOUR = ((0, 0), (500, 0), (500, 300), (0, 300))


def folder_of(slide_id: str) -> str:
    kind = slide_id.split("_")[0]
    return "testing/images" if kind == "test" else f"training/{kind}"


def slide_path(root: Path, slide_id: str) -> Path:
    return root / folder_of(slide_id) / f"{slide_id}.tif"


def xml_path(root: Path, slide_id: str) -> Path:
    return root / folder_of(slide_id).split("/")[0] / "lesion_annotations" / f"{slide_id}.xml"


def annotation(points=TUMOUR, group="_0", kind="Polygon") -> str:
    rows = "\n".join(
        f'<Coordinate Order="{n}" X="{x}" Y="{y}" />' for n, (x, y) in enumerate(points)
    )
    return (
        f'<Annotation Name="a" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">\n'
        f"<Coordinates>\n{rows}\n</Coordinates>\n</Annotation>"
    )


def asap(*annotations: str) -> str:
    inner = "\n".join(annotations)
    return (
        '<?xml version="1.0"?>\n<ASAP_Annotations>\n<Annotations>\n'
        f"{inner}\n</Annotations>\n<AnnotationGroups />\n</ASAP_Annotations>\n"
    )


def draw_pixels(seed: int, *, has_tumour: bool) -> np.ndarray:
    """Pink noise, darker in the tumour; the last quarter of the width is glass."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal((205, 120, 190), 12, (PIXELS, PIXELS, 3))
    if has_tumour:
        pixels[:300, :500] -= 50
    pixels[:, 3 * PIXELS // 4 :] = 245
    return np.clip(pixels, 0, 255).astype(np.uint8)


def draw_source(root: Path) -> Path:
    """Writes the slides, their annotations and the test labels."""
    for number, (slide_id, (pixel_um, has_tumour)) in enumerate(SLIDES.items()):
        path = slide_path(root, slide_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_slide(path, draw_pixels(number, has_tumour=has_tumour), pixel_um)
        if has_tumour:
            xml = xml_path(root, slide_id)
            xml.parent.mkdir(parents=True, exist_ok=True)
            xml.write_text(asap(annotation()))
    (root / "testing/reference.csv").write_text("test_001,Tumor,IDC,Macro\ntest_002,Normal\n")
    return root
