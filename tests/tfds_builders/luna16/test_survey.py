import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlp_med.errors import SourceError
from tfds_builders.luna16 import check, preview
from tfds_builders.luna16.survey import SECONDS_A_CROP, digest_only, survey_source

REAL = Path(__file__).parents[4] / "shared" / "real" / "ct_luna16_layout"


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_sound_source_is_counted_and_left_alone(tiny_source: Callable) -> None:
    source = tiny_source()
    before = tree(source.root.parent)
    report = check(source.root)
    assert report.problems == []
    assert report.files == {f"subset{number}": 1 for number in range(5)}
    assert report.candidates == {"non-nodule": 40, "nodule": 20}
    # Ten nodules, so thirty of the forty non-nodules.
    assert sum(counts["nodule"] for counts in report.examples.values()) == 10
    assert sum(counts["non-nodule"] for counts in report.examples.values()) == 30
    assert {split: counts["nodule"] for split, counts in report.examples.items()} == {
        "train": 4,
        "validation": 2,
        "test": 4,
    }
    assert report.crop_bytes["0.625mm"] == 40 * 64**3 * 2
    assert report.crop_bytes["5mm"] == 40 * 8**3 * 2
    assert any("0.625 mm is finer" in warning for warning in report.warnings)
    assert not any("2.5 mm is finer" in warning for warning in report.warnings)
    assert "nothing to mend" in str(report)
    assert tree(source.root.parent) == before


def test_all_candidates_can_be_counted_and_take_longer(tiny_source: Callable) -> None:
    root = tiny_source().root
    some, every = check(root), check(root, negatives_per_positive=1000)
    assert sum(counts["non-nodule"] for counts in every.examples.values()) == 40
    # Ten crops more, of the same scans.
    assert every.build_core_seconds - some.build_core_seconds == pytest.approx(10 * SECONDS_A_CROP)
    assert some.build_core_seconds > 40 * SECONDS_A_CROP
    assert f"resolutions: about {some.build_core_seconds:.2g} s of one core" in str(some)


def test_splits_follow_the_subsets(tiny_source: Callable) -> None:
    survey = survey_source(tiny_source(10).root)
    splits = {scan.subset: scan.split for scan in survey.scans.values()}
    assert splits == {
        "subset0": "test",
        "subset1": "test",
        "subset2": "validation",
        **{f"subset{number}": "train" for number in range(3, 10)},
    }
    for series, rows in survey.examples.groupby("series"):
        assert set(rows["split"]) == {survey.scans[series].split}


def test_windows_line_ends_change_no_example(tiny_source: Callable) -> None:
    source = tiny_source()
    expected = survey_source(source.root).examples
    source.write(newline="\r\n")
    assert survey_source(source.root).examples.equals(expected)


def test_voxels_do_not_count_in_the_digest_and_all_else_does(tiny_source: Callable) -> None:
    source = tiny_source()
    first = digest_only(source.root)
    assert first == survey_source(source.root).digest
    raw = source.scan_file(0, ".raw")
    raw.write_bytes(bytes(len(raw.read_bytes())))
    assert digest_only(source.root) == first
    shutil.copytree(source.root, source.root.parent / "elsewhere")
    assert digest_only(source.root.parent / "elsewhere") == first
    digests = {first}
    source.candidates[-1] = source.candidates[-1].replace(",-15,", ",-14,")
    source.write()
    digests.add(digest_only(source.root))
    header = source.scan_file(0)
    header.write_text(header.read_text().replace("-30 -30", "-30 -31"))
    digests.add(digest_only(source.root))
    (source.root / "PHANTOM.json").write_text("{}")
    digests.add(digest_only(source.root))
    source.scan_file(0).unlink()
    digests.add(digest_only(source.root))
    assert len(digests) == 5


def test_the_size_of_a_voxel_file_counts_in_the_digest(tiny_source: Callable) -> None:
    source = tiny_source()
    header, raw = source.scan_file(0), source.scan_file(0, ".raw")
    header.write_text(header.read_text().replace(".raw", ".zraw"))
    header.write_text(header.read_text().replace("CompressedData = False", "CompressedData = True"))
    compressed = raw.rename(raw.with_suffix(".zraw"))
    digests = set()
    for size in (10, 11):
        compressed.write_bytes(bytes(size))
        digests.add(digest_only(source.root))
    assert len(digests) == 2


def test_a_phantom_says_so(tiny_source: Callable) -> None:
    source = tiny_source()
    assert not check(source.root).phantom
    (source.root / "PHANTOM.json").write_text("{}")
    assert check(source.root).phantom
    assert "PHANTOM" in str(check(source.root))


def spoil_header(old: str, new: str) -> Callable:
    def spoil(source) -> None:
        header = source.scan_file(1)
        assert old in header.read_text()
        header.write_text(header.read_text().replace(old, new))

    return spoil


def spoil_line(table: str, old: str, new: str, line: int = 3) -> Callable:
    def spoil(source) -> None:
        lines = getattr(source, table)
        assert old in lines[line]
        lines[line] = lines[line].replace(old, new, 1)
        source.write()

    return spoil


def truncate(source) -> None:
    raw = source.scan_file(1, ".raw")
    raw.write_bytes(raw.read_bytes()[:-7])


def copy_to_another_subset(source) -> None:
    for suffix in (".mhd", ".raw"):
        shutil.copy(source.scan_file(1, suffix), source.root / "subset4")


def one_class_in_test(source) -> None:
    source.candidates = [
        line
        for line in source.candidates
        if not (line.endswith(",1") and line.split(",")[0] in ("1.2.840.0", "1.2.840.3"))
    ]
    source.write()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda source: source.scan_file(1, ".raw").unlink(), r"1\.2\.840\.3.*missing"),
        (truncate, "truncated"),
        (spoil_header("24 24 24", "24 24 25"), "truncated"),
        (spoil_header("2.5 2.5 2.5", "2.5 0 2.5"), "positive spacings"),
        (spoil_header("ElementSpacing", "SomethingElse"), "ElementSpacing is absent"),
        (spoil_header("= 1.2.840.3", "= ../subset0/1.2.840.0"), "beside the header"),
        (copy_to_another_subset, "lies in subset1 as well"),
        (one_class_in_test, r"test split has \d+ non-nodule and 0 nodule.*subset0, subset1"),
        (lambda source: shutil.rmtree(source.root / "subset2"), "validation split.*no subset"),
        (spoil_line("candidates", "1.2.840", "../1.2.840"), r"candidates_V2.csv line 4.*'\.\./1"),
        (spoil_line("annotations", "1.2", "a/../1.2", 2), "annotations.csv line 3.*a/../1.2"),
        (spoil_line("series", "1.2", "../../1.2", 2), "seriesuids.csv.*series id"),
        (spoil_line("candidates", "80,1", "80,2", 4), "line 5: expected 0 or 1 for class, found 2"),
        (spoil_line("candidates", "-11", "nan"), "line 4.*finite number for coordX, found 'nan'"),
        (spoil_line("candidates", "-11", "inf"), "line 4.*finite number for coordX, found 'inf'"),
        (spoil_line("candidates", "class", "klasse", 0), "line 1.*missing: class"),
        (spoil_line("annotations", "diameter_mm", "size", 0), "missing: diameter_mm"),
        (spoil_line("annotations", "9", "0", 2), "positive diameter"),
        (lambda source: (source.root / "candidates_V2.csv").unlink(), "candidates_V2.csv is mis"),
        (lambda source: (source.root / "annotations.csv").unlink(), "annotations.csv is missing"),
    ],
)
def test_what_is_wrong_is_said(tiny_source: Callable, spoil: Callable, message: str) -> None:
    source = tiny_source()
    spoil(source)
    report = check(source.root)
    assert report.problems
    with pytest.raises(SourceError, match=f"(?s)no dataset can be built.*{message}"):
        survey_source(source.root).require_sound()
    assert "no dataset can be built" in str(report)


@pytest.mark.parametrize("line_end", [0, 1])
def test_series_without_a_file_are_normal(tiny_source: Callable, line_end: int) -> None:
    source = tiny_source(7)
    source.scan_file(4).unlink()
    source.scan_file(4, ".raw").unlink()
    if line_end:
        source.series.pop(0)
        source.write()
    report = check(source.root)
    assert report.problems == []
    assert report.skipped["candidates of a series without a file"] == 12
    not_listed = "candidates of a series that seriesuids.csv does not list"
    assert report.skipped.get(not_listed, 0) == 12 * line_end


@pytest.mark.parametrize("name", ["nowhere", "empty", "both"])
def test_a_directory_that_is_no_release(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("subset0", "train_subset00"):
        (tmp_path / "both" / folder).mkdir(parents=True)
    report = check(tmp_path / name)
    assert len(report.problems) == 1
    assert str(tmp_path / name) in report.problems[0]


@pytest.mark.parametrize("place", ["CSVFILES", "candidates_V2"])
def test_tables_may_lie_where_their_archives_put_them(tiny_source: Callable, place: str) -> None:
    source = tiny_source()
    expected = survey_source(source.root).examples
    (source.root / place).mkdir()
    (source.root / "candidates_V2.csv").rename(source.root / place / "candidates_V2.csv")
    assert survey_source(source.root).examples.equals(expected)


def test_no_excluded_findings_is_a_warning(tiny_source: Callable) -> None:
    source = tiny_source()
    (source.root / "annotations_excluded.csv").unlink()
    report = check(source.root)
    assert report.problems == []
    assert any("annotations_excluded.csv is missing" in text for text in report.warnings)


def as_tianchi(source) -> Path:
    """The same scans and tables, laid out and named as in Tianchi's 2017 release."""
    folders = ["train_subset00", "val_subset00", "train_subset01", "train_subset02", "val_subset01"]
    for number, folder in enumerate(folders):
        (source.root / f"subset{number}").rename(source.root / folder)
    (source.root / "test_subset00").mkdir()
    for part in ("train", "val"):
        place = source.root / "csv" / part
        place.mkdir(parents=True)
        held = {path.stem for path in source.root.glob(f"{part}_subset*/*.mhd")}
        for name, new in {
            "annotations.csv": "annotations.csv",
            "candidates_V2.csv": "candidates.csv",
            "seriesuids.csv": "seriesuids.csv",
        }.items():
            lines = (source.root / name).read_text().splitlines()
            kept = [x for x in lines if x.split(",")[0] in held or x.startswith("seriesuid")]
            (place / new).write_text("\n".join(kept) + "\n")
    for path in source.root.glob("*.csv"):
        path.unlink()
    return source.root


def test_tianchi_is_read_by_the_same_rules(tiny_source: Callable) -> None:
    source = tiny_source()
    expected = survey_source(source.root).examples
    root = as_tianchi(source)
    survey = survey_source(root)
    survey.require_sound()
    assert survey.examples["id"].tolist() == expected["id"].tolist()
    assert {scan.subset: scan.split for scan in survey.scans.values()} == {
        "train_subset00": "validation",
        "train_subset01": "validation",
        "train_subset02": "train",
        "val_subset00": "test",
        "val_subset01": "test",
    }
    assert any("test_subset00 have no labels" in text for text in survey.warnings)
    assert "Tianchi" in check(root).layout


def test_tianchi_without_candidates_says_what_to_do(tiny_source: Callable) -> None:
    root = as_tianchi(tiny_source())
    for path in root.glob("csv/*/candidates.csv"):
        path.unlink()
    assert "detector of your own" in check(root).problems[0]


def test_a_preview_shows_both_classes_in_turn(tiny_source: Callable) -> None:
    cases = preview(tiny_source().root, num_cases=4, resolutions=[5.0, 2.5])
    assert [case.label for case in cases] == ["nodule", "non-nodule"] * 2
    for case in cases:
        assert list(case.crops) == ["2.5mm", "5mm"]
        assert case.crops["2.5mm"].shape == (16, 16, 16, 1)
        assert case.crops["2.5mm"].dtype == np.int16


@pytest.mark.skipif(not REAL.is_dir(), reason="no real scans on this machine")
def test_real_scans_with_annotations_alone_can_be_looked_at() -> None:
    report = check(REAL)
    assert report.files == {"subset0": 2}
    assert len(report.problems) == 1
    assert "candidates_V2.csv is missing" in report.problems[0]
    cases = preview(REAL)
    assert [case.label for case in cases] == ["nodule", "nodule"]
    for case in cases:
        centre = case.crops["1.25mm"][12:20, 12:20, 12:20]
        assert -150 < np.median(centre) < 150  # a tumour is soft tissue
        assert case.crops["5mm"].min() >= -1100
