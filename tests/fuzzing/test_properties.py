"""Any text, header or JSON value that Hypothesis thinks of: read, or refused in our own words."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlp_med.errors import EvidenceError, ImageError, MlpMedError, SourceError, StudyError
from mlp_med.evidence import mark_tables
from mlp_med.evidence.foreign import read_predictions
from mlp_med.imaging.claims import ALWAYS_FINE_BYTES, BoundedFile, require_plausible_size
from mlp_med.imaging.metaimage import BYTES_PER_VOXEL
from mlp_med.imaging.volume import read_volume
from mlp_med.json_records import read_json_object
from mlp_med.studies.pilot_record import read_pilot
from tfds_builders.camelyon16.annotations import read_annotations
from tfds_builders.tables import read_table

# One file is written again and again; each example reads what it wrote.
fuzzed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
cells = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["1", "-1.5", "nan", "1e400", '"', "'", ",", "=1+1", "\x00", "\r", "true", " 2 "]
)
PILOT_KEYS = ("learning_rate", "grid", "on_edge", "convergence")


def allowed(read, *kinds: type[MlpMedError]) -> object:
    """What `read` gives, or the error that it is documented to raise."""
    try:
        return read()
    except kinds:
        return None


@fuzzed
@given(rows=st.lists(st.lists(cells, min_size=1, max_size=6), max_size=5), head=st.booleans())
def test_csv_of_any_cells(rows, head, tmp_path: Path):
    path = tmp_path / "table.csv"
    lines = [["id", "patient", "seed", "label", "score"], *rows] if head else rows
    path.write_text("\n".join(",".join(row) for row in lines), encoding="utf-8", newline="")
    table = allowed(lambda: read_table(path, text=["id"], numbers=["score"]), SourceError)
    assert table is None or np.isfinite(table["score"].to_numpy(float)).all()
    allowed(lambda: read_predictions(path, "arm"), EvidenceError)
    for read in (mark_tables.read_slide_scores, mark_tables.read_marks, mark_tables.read_series):
        allowed(lambda read=read: read(path), EvidenceError)


numbers = st.sampled_from(
    ["3", "0", "-1", "1000000000", "1e9", "nan", "2.5", "", "x", "4294967296"]
)


@fuzzed
@given(
    size=st.lists(numbers, min_size=1, max_size=4),
    spacing=st.lists(numbers, min_size=1, max_size=4),
    dims=numbers,
    kind=st.sampled_from([*BYTES_PER_VOXEL, "MET_OTHER"]),
    compressed=st.booleans(),
    more=st.dictionaries(st.sampled_from(["Offset", "TransformMatrix", "HeaderSize"]), numbers),
    data=st.binary(max_size=64),
)
def test_metaimage_headers_of_any_numbers(
    size, spacing, dims, kind, compressed, more, data, tmp_path
):
    path = tmp_path / "scan.mha"
    fields = {
        **{"NDims": dims, "CompressedData": str(compressed), **more},
        **{"DimSize": " ".join(size), "ElementSpacing": " ".join(spacing)},
        **{"ElementType": kind, "ElementDataFile": "LOCAL"},
    }
    head = "".join(f"{name} = {value}\n" for name, value in fields.items())
    path.write_bytes(head.encode() + data)
    volume = allowed(lambda: read_volume(path), ImageError)
    if volume is not None:
        assert volume.voxels.nbytes <= len(data) or compressed
        assert min(volume.spacing_mm) > 0


@fuzzed
@given(value=json_values)
def test_json_of_any_value(value, tmp_path: Path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    found = allowed(lambda: read_json_object(path, StudyError, "mend it"), StudyError)
    assert (found is None) == (not isinstance(value, dict))
    allowed(lambda: read_pilot(path), StudyError)


@fuzzed
@given(
    arm=st.dictionaries(st.sampled_from(PILOT_KEYS), json_values),
    rate=st.floats() | st.booleans() | st.text(max_size=3),
    budget=json_values,
)
def test_pilots_of_any_value(arm, rate, budget, tmp_path: Path):
    sound = {"learning_rate": rate, "grid": [[rate, 0.9]], "on_edge": False, "convergence": None}
    path = tmp_path / "pilot.json"
    content = {"arms": {"1mm": {**sound, **arm}}, "budget_examples": budget, "origin": {}}
    path.write_text(json.dumps(content), encoding="utf-8")
    found = allowed(lambda: read_pilot(path), StudyError)
    if found is not None:
        assert 0 < found.arms["1mm"].learning_rate < math.inf
        assert found.arms["1mm"].validation_auc is not None


@fuzzed
@given(
    xs=st.lists(st.floats() | st.text(st.characters(codec="utf-8"), max_size=6), max_size=6),
    group=st.text(st.characters(codec="utf-8"), max_size=10),
)
def test_xml_of_any_attributes(xs, group, tmp_path: Path):
    path = tmp_path / "outlines.xml"
    points = "".join(f'<Coordinate X="{x}" Y="1" />' for x in xs)
    path.write_text(
        f'<ASAP_Annotations><Annotation PartOfGroup="{group}">{points}</Annotation>'
        "</ASAP_Annotations>",
        encoding="utf-8",
    )
    found = allowed(lambda: read_annotations(path), SourceError)
    assert found is None or all(np.isfinite(o.points).all() for o in found.outlines)


def test_json_nested_beyond_reason_is_refused(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 200_000)
    with pytest.raises(StudyError, match="cannot be read as JSON"):
        read_json_object(path, StudyError, "mend it")


@given(claimed=st.integers(0, 10**13), held=st.integers(0, 10**10))
def test_a_claim_is_refused_exactly_where_the_file_could_not_hold_it(claimed, held):
    too_much = claimed > ALWAYS_FINE_BYTES and claimed > 1_100 * held
    try:
        require_plausible_size(Path("scan"), claimed, held)
        assert not too_much
    except ImageError:
        assert too_much


@fuzzed
@given(data=st.binary(max_size=300), sizes=st.lists(st.integers(-1, 2**62), max_size=6))
def test_a_bounded_file_reads_as_any_other_and_never_asks_for_more_than_there_is(
    data, sizes, tmp_path
):
    path = tmp_path / "file"
    path.write_bytes(data)
    with BoundedFile(path) as bounded, path.open("rb") as plain:
        for size in sizes:
            assert bounded.read(size) == plain.read(min(size, len(data)))
