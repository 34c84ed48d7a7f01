import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mlp_med.cli import app
from mlp_med.errors import EvidenceError, SourceError
from mlp_med.phantoms.slide_file import write_slide
from tests.tfds_builders.camelyon16.tiny import (
    annotation,
    asap,
    draw_source,
    slide_path,
    xml_path,
)

LARGE = ((0, 0), (1200, 0), (1200, 1200), (0, 1200))  # 292 µm wide, so more than isolated cells


@pytest.fixture
def source(tmp_path) -> Path:
    root = draw_source(tmp_path / "source")
    write_slide(slide_path(root, "test_001"), np.full((1600, 1600, 3), 200, np.uint8), 0.243)
    xml_path(root, "test_001").write_text(asap(annotation(LARGE)))
    return root


def run(source: Path, marks: str, *options: str) -> str:
    path = source.parent / "marks.csv"
    path.write_text(marks)
    words = ["froc-slides", str(path), "--source", str(source), *options]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


MARKS = """slide,x_um,y_um,probability
test_001,60,60,0.9
test_001,70,60,0.8
test_002,60,60,0.5
tumor_001,60,60,0.5
"""


def test_lesions_of_the_test_slides_are_found_in_micrometres(source):
    scores = source.parent / "scores.csv"
    scores.write_text("slide,probability\ntest_001,0.9\ntest_002,0.5\n")
    found = json.loads(run(source, MARKS, "--json", "--scores", str(scores), "--bootstrap", "0"))
    assert (found["slides"], found["lesions"], found["isolated"]) == (2, 1, 0)
    assert (found["false_positives"], found["ignored_double"]) == (1, 1)
    assert found["on_unknown_slides"] == 1
    assert found["fp_per_slide"] == [0.25, 0.5, 1, 2, 4, 8]
    assert found["score"] == found["auc"] == 1
    assert found["score_low"] is None
    assert found["phantom"] is False


def test_the_table_says_what_counted_and_calls_a_phantom_one(source):
    (source / "PHANTOM.json").write_text('{"complete": true}')
    printed = run(source, MARKS, "--bootstrap", "20")
    assert "PHANTOM" in printed
    assert (
        "1 of 1 lesions were found by 3 marks on 2 slides; 1 marks are false positives" in printed
    )
    assert "1 marks are on slides that are not among those searched" in printed
    assert "AUC" not in printed


def test_a_partly_annotated_slide_is_classified_but_not_searched(source):
    for path in (slide_path, xml_path):
        path(source, "test_001").rename(path(source, "test_114"))
    (source / "testing/reference.csv").write_text("test_114,Tumor\ntest_002,Normal\n")
    with pytest.raises(EvidenceError, match="needs lesions"):
        run(source, MARKS)


def test_training_slides_are_not_opened(source):
    slide_path(source, "normal_001").write_bytes(b"no slide")
    assert run(source, MARKS)
    slide_path(source, "test_002").write_bytes(b"no slide")
    with pytest.raises(SourceError, match=r"test_002\.tif"):
        run(source, MARKS)


def test_scores_that_are_missing_or_there_twice_are_named(source):
    scores = source.parent / "scores.csv"
    for text, message in (
        ("test_001,0.9\n", "1 of 2 slides have no finite score, the first is test_002"),
        ("test_001,0.9\ntest_001,0.8\ntest_002,0\n", "test_001 is there more than once"),
        ("test_001,high\ntest_002,0\n", "line 2: probability is 'high'"),
    ):
        scores.write_text("slide,probability\n" + text)
        with pytest.raises(EvidenceError, match=message):
            run(source, MARKS, "--scores", str(scores))
