import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlp_med.cli import app
from mlp_med.errors import EvidenceError

REAL = Path(__file__).parents[3] / "shared" / "real" / "luna16"
HEADS = {
    "submission": "seriesuid,coordX,coordY,coordZ,probability",
    "annotations": "seriesuid,coordX,coordY,coordZ,diameter_mm",
}


def run(submission: Path, annotations: Path, series: Path, *options: str) -> str:
    words = ["froc", submission, "--annotations", annotations, "--series", series, *options]
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def tables(tmp_path):
    def write(submission="a,0,0,0,0.9\nb,9,9,9,0.5", annotations="a,0,0,0,6", series="a\nb\n"):
        content = {
            "submission": f"{HEADS['submission']}\n{submission}\n",
            "annotations": f"{HEADS['annotations']}\n{annotations}\n",
            "series": series,
        }
        for name, text in content.items():
            (tmp_path / f"{name}.csv").write_text(text)
        return [tmp_path / f"{name}.csv" for name in content]

    return write


@pytest.mark.skipif(not REAL.is_dir(), reason="LUNA16's tables are not beside this checkout")
def test_it_is_the_official_evaluation():
    output = run(
        REAL / "froc" / "submission.csv",
        REAL / "annotations.csv",
        REAL / "seriesuids.csv",
        *("--excluded", str(REAL / "annotations_excluded.csv"), "--json"),
    )
    found = json.loads(output)
    for name, value in json.loads((REAL / "froc" / "expected.json").read_text()).items():
        assert found[name] == pytest.approx(value, abs=1e-6), name
    assert found["cpm_low"] < found["cpm"] < found["cpm_high"]


def test_the_table_says_what_was_found_and_what_was_left_out(tables):
    output = run(*tables(), "--bootstrap", "0")
    assert "1 of 1 nodules were found by 2 marks in 2 scans; 1 marks are false positives" in output
    assert "–" in output
    assert json.loads(run(*tables(), "--json", "--bootstrap", "0"))["cpm_low"] is None


def test_windows_and_headers_are_no_obstacle(tables):
    submission, annotations, series = tables(series="seriesuid\na\nb")
    for path in (submission, annotations, series):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert json.loads(run(submission, annotations, series, "--json"))["scans"] == 2


def test_marks_of_another_release_are_counted(tables):
    assert "1 marks name a scan that is not among those read" in run(*tables(series="a\n"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"submission": "a,0,0,0,nan"}, r"line 2: probability is 'nan'"),
        ({"submission": "a,0,0,0,0.5\na,0,,0,0.9"}, r"line 3: coordY is ''"),
        ({"submission": "a,0,0,inf,0.5"}, "coordZ is 'inf'"),
        ({"annotations": "a,0,0,0,large"}, "diameter_mm is 'large'"),
        ({"annotations": "z,0,0,0,6"}, "needs lesions"),
        ({"series": "a\nb\na\n"}, "a is there more than once"),
        ({"series": "\n"}, "names no scan"),
    ],
)
def test_bad_rows_are_named(tables, content, expected):
    with pytest.raises(EvidenceError, match=expected):
        run(*tables(**content))


def test_bad_files_are_named(tables, tmp_path):
    submission, annotations, series = tables()
    with pytest.raises(EvidenceError, match=r"cannot read .*absent\.csv"):
        run(tmp_path / "absent.csv", annotations, series)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(EvidenceError, match="no text in UTF-8"):
        run(tmp_path / "binary.csv", annotations, series)
    submission.write_text(submission.read_text().replace(",", ";"))
    with pytest.raises(EvidenceError, match="separated by commas; found"):
        run(submission, annotations, series)
