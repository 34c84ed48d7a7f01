"""The patches of a real slide (of skin, not CAMELYON16's) and of one of no tissue at all."""

from pathlib import Path

import numpy as np
import pytest

from mlp_med.imaging.slide import opened, read_header, read_overview
from mlp_med.phantoms.slide_file import write_slide
from tfds_builders.camelyon16.annotations import TUMOUR, Outline
from tfds_builders.camelyon16.crops import RenderJob, read_listing, render_patches, render_slide
from tfds_builders.camelyon16.patches import FIELD_UM, MASK_UM, patches_of_slide
from tfds_builders.camelyon16.slides import Slide
from tfds_builders.camelyon16.tissue import tissue_mask

REAL = Path(__file__).parents[4] / "shared/real/whole_slide/cmu-1-small-region.svs"


@pytest.mark.skipif(not REAL.exists(), reason="the real slide is not beside this checkout")
def test_tissue_patches_and_labels_of_a_real_slide():
    header = read_header(REAL)
    with opened(REAL) as slide:
        overview = read_overview(slide, header, MASK_UM)
    tissue = tissue_mask(overview)
    assert 0.25 < tissue.mean() < 0.4
    assert overview[~tissue].mean() > 215  # glass, and pale spots in tissue
    assert not tissue[80:120, 2:20].any()  # nothing but glass, by eye
    assert tissue[150:180, 60:70].mean() > 0.8  # dermis

    box = np.array([[900, 2000], [1500, 2000], [1500, 2700], [900, 2700]], float)
    outlines = [Outline(TUMOUR, "_0", box, 1)]
    patches = patches_of_slide(header, "tumor_001", outlines, exhaustive=True, most_per_class=1000)
    share = tissue[: 190 // 8 * 8, : 142 // 8 * 8].reshape(23, 8, 17, 8).mean(axis=(1, 3))
    assert len(patches) == (share >= 0.5).sum()
    low, high = (edge * 0.499 for edge in (box.min(axis=0), box.max(axis=0)))
    for patch in patches:
        centre = np.array([patch.x_um, patch.y_um])
        deep = ((centre > low + 16) & (centre < high - 16)).all()
        far = ((centre < low - 24) | (centre > high + 24)).any()
        assert not (deep and patch.label == 0)
        assert not (far and patch.label == 1)
    some = patches_of_slide(header, "tumor_001", outlines, exhaustive=False, most_per_class=5)
    assert [patch.label for patch in some] == [1] * 5
    assert set(some) < set(patches)

    slide = Slide("tumor_001", "train", 1, header, tuple(outlines), exhaustive=True)
    fine, coarse = render_patches(slide, some, [0.486, 1.944])
    assert fine.shape == (5, 128, 128, 3)
    blocks = fine.reshape(5, 32, 4, 32, 4, 3).mean(axis=(2, 4))
    assert np.corrcoef(blocks.ravel(), coarse.ravel())[0, 1] > 0.98
    np.testing.assert_allclose(fine.mean(axis=(1, 2)), coarse.mean(axis=(1, 2)), atol=2)


def test_a_slide_without_tissue_has_a_listing_and_no_pixels(tmp_path):
    path = tmp_path / "glass.tif"
    write_slide(path, np.full((600, 600, 3), 243, np.uint8), 0.243)
    slide = Slide("normal_001", "train", 0, read_header(path), (), exhaustive=True)
    target = tmp_path / "crops/glass.npy"
    assert render_slide(RenderJob(slide, 10, ((1.944, target),))) == []
    assert read_listing(target) == []
    assert not target.exists()


def test_a_slide_smaller_than_a_field_has_no_patch(tmp_path):
    path = tmp_path / "tiny.tif"
    write_slide(path, np.full((200, 300, 3), (200, 100, 180), np.uint8), 0.243)
    header = read_header(path)
    assert header.extent_um[1] < FIELD_UM
    assert patches_of_slide(header, "normal_001", [], exhaustive=True, most_per_class=9) == []
