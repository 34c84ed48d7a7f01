"""What `check` says of sources with faults; each is told before anything is built."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlp_med.errors import ImageError, SourceError
from mlp_med.phantoms.slide_file import write_slide
from tests.tfds_builders.camelyon16.tiny import (
    annotation,
    asap,
    draw_pixels,
    draw_source,
    slide_path,
    xml_path,
)
from tfds_builders.camelyon16 import build, check, slides
from tfds_builders.camelyon16.layout import split_of
from tfds_builders.camelyon16.survey import digest_only, survey_source


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return draw_source(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A sound source of the test's own, to be spoilt."""
    return Path(shutil.copytree(sound, tmp_path / "source"))


def problems(root: Path) -> str:
    report = check(root)
    assert report.problems, report
    with pytest.raises(SourceError):
        build(root, root.parent / "data", [1.944], num_workers=1)
    assert not (root.parent / "data").exists()
    return "\n".join(report.problems)


def warnings(root: Path) -> str:
    report = check(root)
    assert not report.problems, report
    return "\n".join(report.warnings)


def test_the_buckets_arrangement_has_the_same_slides(root, tmp_path):
    bucket = tmp_path / "bucket"
    for folder, pattern in (("images", "*/*/*.tif"), ("annotations", "*/*/*.xml")):
        (bucket / folder).mkdir(parents=True)
        for path in root.glob(pattern):
            shutil.copy(path, bucket / folder)
    (bucket / "evaluation").mkdir()
    shutil.copy(root / "testing/reference.csv", bucket / "evaluation")
    report = check(bucket)
    assert report.problems == []
    assert report.layout == "CAMELYON16, arranged as its bucket"
    assert report.examples == check(root).examples
    found, others = survey_source(bucket).slides, survey_source(root).slides
    assert [slide.id for slide in found] == [slide.id for slide in others]


def test_every_seventh_training_slide_is_for_validation_whatever_its_class():
    assert split_of("test_007") == "test"
    for kind in ("normal", "tumor"):
        splits = [split_of(f"{kind}_{number:03d}") for number in range(1, 112)]
        assert splits.count("validation") == 15
        assert splits.count("train") == 96


def test_neither_arrangement_or_both_is_refused(tmp_path, root):
    assert "found neither" in problems(tmp_path / "source" / "training")
    (root / "images").mkdir()
    assert "found both" in problems(root)
    assert "expected a directory" in problems(tmp_path / "absent")


@pytest.mark.parametrize("name", ["TUMOR_001.tif", "tumor_1.tif", "tumor_001.svs"])
def test_a_slide_that_is_there_twice_is_told(root, name):
    shutil.copy(slide_path(root, "tumor_001"), root / "training/tumor" / name)
    assert "is the same slide by its name" in problems(root)


def test_annotations_that_are_missing_empty_or_of_the_wrong_slide_are_told(root):
    xml = xml_path(root, "tumor_001")
    xml.write_text(asap())
    assert "at least one outline of tumour" in problems(root)
    xml.write_text(asap(annotation(group="_2")))
    assert "at least one outline of tumour" in problems(root)
    far = tuple((x + 5000, y) for x, y in ((0, 0), (10, 0), (10, 10)))
    xml.write_text(asap(annotation(far)))
    assert "line 4: an outline lies wholly outside tumor_001.tif" in problems(root)
    xml.unlink()
    assert "tumor_001.xml: expected at least one outline" in problems(root)


def test_a_test_slide_whose_label_and_outlines_disagree_is_told(root):
    reference = root / "testing/reference.csv"
    reference.write_text("test_001,Normal\ntest_002,Normal\n")
    assert "outlines tumour in test_001.tif, which is normal" in problems(root)
    reference.write_text("test_001,Tumor\ntest_002,Tumor\n")
    assert "test_002.xml: expected at least one outline" in problems(root)


def test_the_table_of_test_labels_is_needed_and_read_carefully(root):
    reference = root / "testing/reference.csv"
    good = reference.read_text()
    reference.write_text("image,type\r\nTest_001.tif,tumor\r\n\r\ntest_002, Normal\r\n")
    assert warnings(root)
    reference.write_text("test_001,Tumor\n")
    assert check(root).skipped["test slides without a label"] == 1
    for text, message in (
        ("test_001,Cancer\n", "Normal or Tumor"),
        (good + "test_001,Normal\n", "another thing"),
        (good + "nonsense\n", "found 'nonsense'"),
    ):
        reference.write_text(text)
        assert message in problems(root)
    reference.unlink()
    assert "reference.csv is missing" in problems(root)


def test_slides_with_known_faults_are_left_out(root):
    shutil.copy(slide_path(root, "normal_001"), root / "training/normal/normal_086.tif")
    shutil.copy(slide_path(root, "test_002"), root / "testing/images/test_049.tif")
    assert "normal_086 was misclassified" in warnings(root)
    assert check(root).skipped == {"slides with a known fault": 2}
    assert len(survey_source(root).slides) == 6


def test_partly_annotated_slides_are_flagged(root):
    for path in (slide_path, xml_path):
        path(root, "tumor_001").rename(path(root, "tumor_110"))
    assert "not exhaustively annotated" in warnings(root)
    flagged = [slide.id for slide in survey_source(root).slides if not slide.exhaustive]
    assert flagged == ["tumor_110"]


def test_a_slide_without_pixel_size_or_unreadable_is_told_with_its_file(root):
    write_slide(slide_path(root, "normal_001"), draw_pixels(0, has_tumour=False), 352.8)
    slide_path(root, "normal_007").write_bytes(b"II*\0 and nothing more")
    told = problems(root)
    assert "normal_001.tif: states pixels of 352.8 µm" in told
    assert "normal_007.tif" in told


def test_a_slide_of_one_level_may_be_as_it_is_but_is_told(root, monkeypatch):
    monkeypatch.setattr("mlp_med.phantoms.slide_file.SMALLEST_LEVEL", 4096)
    write_slide(slide_path(root, "normal_001"), draw_pixels(0, has_tumour=False), 0.243)
    assert "normal_001.tif: has one level" in warnings(root)
    (builder,) = build(root, root.parent / "data", [1.944], num_workers=1)
    assert builder.info.splits.total_num_examples > 50


def test_slides_coarser_than_a_resolution_are_counted(root):
    write_slide(slide_path(root, "normal_001"), draw_pixels(0, has_tumour=False), 0.499)
    told = warnings(root)
    assert "0.243 µm is finer than the pixels of 1 of 6 slides" in told
    assert "0.486 µm is finer than the pixels of 1 of 6 slides" in told
    assert "0.972 µm is finer" not in told


def test_odd_annotations_are_told_and_the_rest_is_used(root):
    xml_path(root, "tumor_001").write_text(
        asap(annotation(), annotation(((1, 1), (2, 2))), annotation(group="Metastasis"))
    )
    told = warnings(root)
    assert "1 annotations enclose nothing" in told
    assert "the groups 'Metastasis' are none of" in told


def test_other_files_are_counted(root):
    (root / "training/tumor/mine.tif").write_bytes(b"")
    (root / "training/tumor/notes.txt").write_text("")
    shutil.copy(xml_path(root, "tumor_001"), xml_path(root, "tumor_099"))
    assert check(root).skipped == {
        "annotations without their slide": 1,
        "files that are no slide of CAMELYON16 by their names": 1,
    }


def test_a_split_without_a_class_is_told(root):
    slide_path(root, "tumor_007").unlink()
    told = problems(root)
    assert "the validation split has 1 slides, and none that patches of 'tumour'" in told


def test_the_digest_knows_annotations_labels_and_sizes(root):
    digests = {digest_only(root)}
    xml_path(root, "tumor_001").write_text(asap(annotation(group="_1")))
    digests.add(digest_only(root))
    with (root / "testing/reference.csv").open("a") as table:
        table.write("test_003,Normal\n")
    digests.add(digest_only(root))
    with slide_path(root, "normal_001").open("ab") as file:
        file.write(b"\0")
    digests.add(digest_only(root))
    assert len(digests) == 4
    (root / "PHANTOM.json").write_text('{"complete": true}')
    assert check(root).phantom
    assert check(root).digest == digest_only(root) not in digests
    (root / "PHANTOM.json").write_text('{"complete": false}')
    assert "not finished" in problems(root)


def test_no_other_dataset_needs_openslide_or_tifffile():
    code = (
        "import sys, tfds_builders, mlp_med.cli, mlp_med.phantoms.camelyon16\n"
        "import tfds_builders.camelyon16.truth\n"
        "print({'openslide', 'tifffile'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_openslide_there_is_one_clear_problem(root, monkeypatch):
    def missing():
        raise ImageError("slides are read by OpenSlide; pip install 'mlp-med[slides]'")

    monkeypatch.setattr(slides, "require_openslide", missing)
    assert check(root).problems == ["slides are read by OpenSlide; pip install 'mlp-med[slides]'"]
