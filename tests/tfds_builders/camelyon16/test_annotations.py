import numpy as np
import pytest

from mlp_med.errors import SourceError
from tests.tfds_builders.camelyon16.tiny import annotation, asap
from tfds_builders.camelyon16.annotations import (
    CUT_OUT,
    TUMOUR,
    UNKNOWN,
    read_annotations,
    tumour_masks,
)
from tfds_builders.camelyon16.tissue import otsu_threshold, saturation_of, tissue_mask

BIG = ((0, 0), (800, 0), (800, 800), (0, 800))
SMALL = ((200, 200), (400, 200), (400, 400), (200, 400))
PIXEL_UM = (0.243, 0.243)
MASK_UM = 7.776  # 32 pixels


@pytest.fixture
def write(tmp_path):
    def write(text: str):
        path = tmp_path / "tumor_001.xml"
        path.write_text(text)
        return path

    return write


def masks(path):
    return tumour_masks(read_annotations(path).outlines, PIXEL_UM, (32, 32), MASK_UM)


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        ("_0", TUMOUR),
        ("_1", TUMOUR),
        ("Tumor", TUMOUR),
        ("_2", CUT_OUT),
        ("Exclusion", CUT_OUT),
        ("None", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_groups_mean_what_the_release_says(write, group, kind):
    (outline,) = read_annotations(write(asap(annotation(BIG, group)))).outlines
    assert (outline.kind, outline.group) == (kind, group)
    np.testing.assert_array_equal(outline.points, BIG)


def test_an_open_polygon_is_closed_and_one_that_is_closed_is_the_same(write):
    open_mask, _ = masks(write(asap(annotation(BIG))))
    closed_mask, _ = masks(write(asap(annotation((*BIG, BIG[0])))))
    np.testing.assert_array_equal(open_mask, closed_mask)
    assert open_mask[:25, :25].all()
    assert open_mask.sum() == pytest.approx(25**2, rel=0.05)


def test_cut_outs_are_no_tumour_whatever_the_order(write):
    parts = [annotation(BIG), annotation(SMALL, "_2")]
    for ordered in (parts, parts[::-1]):
        tumour, unknown = masks(write(asap(*ordered)))
        assert not tumour[7:12, 7:12].any()
        assert tumour[:5, :5].all()
        assert not unknown.any()
    tumour, unknown = masks(write(asap(annotation(BIG), annotation(SMALL, "Foo"))))
    assert tumour[7:12, 7:12].all()
    assert unknown[7:12, 7:12].all()


@pytest.mark.parametrize(
    "nothing",
    [
        annotation(()),
        annotation(((1, 1), (2, 2))),
        annotation(((1, 1), (2, 2), (1, 1), (1, 1))),
        annotation(BIG, kind="PointSet"),
        annotation(BIG, kind="Dot"),
    ],
)
def test_what_encloses_nothing_is_set_aside_with_its_line(write, nothing):
    found = read_annotations(write(asap(nothing, annotation(BIG))))
    assert len(found.outlines) == 1
    assert found.empty == [4]


def test_a_slide_wider_than_the_mask_is_no_reason_to_fail(write):
    far = tuple((x + 700, y - 100) for x, y in BIG)
    tumour, _ = masks(write(asap(annotation(far))))
    assert tumour[:21, 22:].all()
    assert not tumour[:, :21].any()


ENTITY = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
BOMB = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENTITY + "<ASAP_Annotations>&x;</ASAP_Annotations>", "document type"),
        (BOMB + "<ASAP_Annotations>&b;</ASAP_Annotations>", "document type"),
        ("<html></html>", "expected <ASAP_Annotations>"),
        (asap(annotation())[:-60], "is no whole XML file"),
        ("", "is no whole XML file"),
        (asap(annotation((("a", 0), (1, 1), (2, 0)))), "finite number for X .* found 'a'"),
        (asap(annotation(((0, "nan"), (1, 1), (2, 0)))), "finite number for Y"),
        (asap(annotation()).replace(' X="500"', ""), "finite number for X .* found None"),
    ],
)
def test_a_file_that_is_no_sound_annotation_names_the_line(write, text, message):
    with pytest.raises(SourceError, match=rf"tumor_001\.xml line \d+: .*{message}"):
        read_annotations(write(text))


def test_otsu_separates_two_groups_and_tissue_is_what_has_colour():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.1, 0.02, 5000), rng.normal(0.6, 0.05, 1000)])
    assert 0.15 < otsu_threshold(values.clip(0, 1)) < 0.5
    assert otsu_threshold(np.zeros(10)) == 1 / 256

    slide = np.full((40, 60, 3), 240, np.uint8)
    slide[10:30, 10:30] = (200, 130, 190)
    slide[0:5, 50:60] = 20  # a black mark: no colour
    mask = tissue_mask(slide)
    assert mask[10:30, 10:30].all()
    assert mask.sum() == 400
    assert saturation_of(slide)[0, 55] == 0


def test_glass_alone_has_no_tissue_and_tissue_alone_is_all_tissue():
    rng = np.random.default_rng(1)
    glass = rng.normal(240, 2, (50, 50, 3)).clip(0, 255).astype(np.uint8)
    assert tissue_mask(glass).mean() < 0.01
    tissue = rng.normal((200, 110, 180), 10, (50, 50, 3)).clip(0, 255).astype(np.uint8)
    assert tissue_mask(tissue).all()
