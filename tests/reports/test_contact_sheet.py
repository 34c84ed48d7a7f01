from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlp_med.reports.contact_sheet import (
    ContactCase,
    bar_length,
    central_slice,
    draw_contact_sheet,
    save_contact_sheet,
)

RESOLUTIONS = (0.625, 1.25, 2.5, 5.0)


def volumes(seed: int = 0) -> dict[float, np.ndarray]:
    """By resolution, in no particular order: HU as a built dataset gives them."""
    rng = np.random.default_rng(seed)
    sizes = {resolution: round(40 / resolution) for resolution in reversed(RESOLUTIONS)}
    return {
        resolution: rng.integers(-1000, 400, (size, size, size, 1)).astype(np.int16)
        for resolution, size in sizes.items()
    }


def draw(cases: list[ContactCase], **kwargs):
    return draw_contact_sheet(
        cases, **{"unit": "mm", "field_extent": 40.0, "title": "luna16", **kwargs}
    )


def test_one_row_a_case_and_one_column_a_resolution_finest_first():
    cases = [ContactCase("nodule, 6 mm", volumes(1)), ContactCase("non-nodule", volumes(2))]
    figure = draw(cases)
    assert len(figure.axes) == 8
    assert [panel.get_title() for panel in figure.axes] == [
        "0.625 mm", "1.25 mm", "2.5 mm", "5 mm", "", "", "", "",
    ]  # fmt: skip
    assert [panel.get_ylabel() for panel in figure.axes[::4]] == ["nodule, 6 mm", "non-nodule"]
    for row, case in enumerate(cases):
        for column, resolution in enumerate(RESOLUTIONS):
            (image,) = figure.axes[4 * row + column].get_images()
            crop = case.crops[resolution]
            np.testing.assert_array_equal(image.get_array(), crop[len(crop) // 2, :, :, 0])
            assert image.get_clim() == (-1000, 400)
            assert tuple(image.get_extent()) == (0, 40, 40, 0)
            assert image.get_interpolation() == "nearest"


def test_colour_patches_show_their_own_colours():
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    case = ContactCase("tumour", {0.97: pixels, 7.76: pixels[::8, ::8]})
    figure = draw([case], unit="um", field_extent=93.12)
    assert [panel.get_title() for panel in figure.axes] == ["0.97 µm", "7.76 µm"]
    np.testing.assert_array_equal(figure.axes[0].get_images()[0].get_array(), pixels)
    assert figure.axes[0].texts[0].get_text() == "20 µm"


def test_a_scale_bar_has_its_length_in_every_row():
    figure = draw([ContactCase("a", volumes()), ContactCase("b", volumes())])
    for panel in figure.axes[::4]:
        (line,) = panel.get_lines()
        assert np.ptp(line.get_xdata()) == 10
        assert panel.texts[0].get_text() == "10 mm"
        assert panel.get_xlim() == (0, 40)


@pytest.mark.parametrize(
    ("extent", "length"), [(40, 10), (93.12, 20), (51.2, 10), (3.4, 1), (0.4, 0.1), (20, 5)]
)
def test_bar_lengths_are_round(extent: float, length: float):
    assert bar_length(extent) == pytest.approx(length)


def test_a_phantom_is_named_in_the_title():
    case = ContactCase("a", volumes())
    assert "PHANTOM" in draw([case], phantom=True).get_suptitle()
    assert "PHANTOM" not in draw([case]).get_suptitle()


def test_the_file_is_a_png_and_nothing_else_is_left(tmp_path: Path):
    save_contact_sheet(draw([ContactCase("a", volumes())]), tmp_path / "sheet.png")
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"
        pixels = np.array(image.convert("RGB"))
    assert pixels.std() > 20


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at least one case"):
        draw([])
    short = {resolution: volumes()[resolution] for resolution in RESOLUTIONS[1:]}
    with pytest.raises(ValueError, match="for 'b'"):
        draw([ContactCase("a", volumes()), ContactCase("b", short)])
    with pytest.raises(ValueError, match=r"found float64 \[8, 8\]"):
        central_slice(np.zeros((8, 8)))


def test_a_field_that_is_higher_than_wide_is_shown_so():
    pixels = np.zeros((26, 20, 3), np.uint8)
    figure = draw([ContactCase("exam", {0.8: pixels})], field_extent=(260.0, 200.0))
    (panel,) = figure.axes
    assert tuple(panel.get_images()[0].get_extent()) == (0, 200, 260, 0)
    assert (panel.get_xlim(), panel.get_ylim()) == ((0, 200), (260, 0))
    box = panel.get_position()
    width, height = figure.get_size_inches() * (box.width, box.height)
    assert height / width == pytest.approx(1.3, rel=0.05)
    assert panel.texts[0].get_text() == "50 mm"
