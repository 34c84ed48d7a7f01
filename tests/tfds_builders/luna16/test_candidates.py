from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.errors import SourceError
from tfds_builders.luna16.candidates import example_id, select_examples

HEADER = SimpleNamespace(
    origin_mm=(0.0, 0.0, 0.0), direction=np.eye(3), spacing_mm=(1.0, 1.0, 1.0), size=(100, 100, 100)
)
SCANS = {name: SimpleNamespace(header=HEADER) for name in ("a", "b")}


def table(rows: list[tuple], last: str) -> pd.DataFrame:
    columns = ["series", "x", "y", "z", last]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[1:], float))


NODULES = table([("a", 50, 50, 50, 10.0), ("b", 20, 20, 20, 6.0)], "diameter_mm")
NONE = table([], "diameter_mm")


def select(
    candidates: list[tuple],
    annotations: pd.DataFrame = NODULES,
    excluded: pd.DataFrame = NONE,
    known: set[str] | None = None,
    ratio: float = 3.0,
):
    rows = table(candidates, "class")
    return select_examples(rows, annotations, excluded, SCANS, known, ratio)


def centres(selection) -> set[tuple[float, ...]]:
    return set(map(tuple, selection.examples[["x", "y", "z"]].to_numpy().tolist()))


FAR = [("a", 10 + 2 * n, 90, 10, 0) for n in range(20)]
HITS = [("a", 50 + offset, 50, 50, 1) for offset in (0.0, 1, 2, 3, 4)]


@settings(max_examples=12, deadline=None)
@given(st.randoms())
def test_the_order_of_rows_changes_nothing(random) -> None:
    rows = [*FAR, *HITS, ("b", 21, 20, 20, 1)]
    expected = select(rows).examples
    random.shuffle(rows)
    shuffled = NODULES.sample(frac=1, random_state=random.randrange(1000))
    pd.testing.assert_frame_equal(select(rows, shuffled).examples, expected)


def test_one_candidate_stands_for_a_nodule_and_it_is_not_always_the_nearest() -> None:
    nearest = 0
    for shift in range(40):
        x = 50 + shift / 100
        rows = [("a", x + offset, 50, 50, 1) for offset in (0.0, 1, 2, 3)]
        chosen = select([*rows, *FAR]).examples.query("label == 1")
        assert len(chosen) == 1
        nearest += chosen["x"].iloc[0] == x
    assert 2 <= nearest <= 22  # 10 of 40 expected; a rule that centres nodules would give 40


def test_the_ratio_is_kept_by_the_lowest_hashes() -> None:
    selection = select([*FAR, *HITS, ("b", 21, 20, 20, 1)], ratio=2.0)
    assert selection.examples["label"].value_counts().to_dict() == {0: 4, 1: 2}
    assert selection.skipped["non-nodule candidates not sampled"] == 16
    more = select([*FAR, *HITS, ("b", 21, 20, 20, 1)], ratio=4.0)
    assert centres(selection) < centres(more)  # a lower threshold only takes away


def test_a_sample_does_not_favour_the_first_rows() -> None:
    rows = [("a", 10 + 0.05 * n, 90, 10, 0) for n in range(1000)]
    kept = select([*rows, *HITS], ratio=200).examples.query("label == 0")["x"]
    assert len(kept) == 200
    assert 33 < kept.mean() < 37  # 35 of all, standard error 1


def test_diameters_come_from_the_nodule_that_is_hit() -> None:
    both = pd.concat([NODULES, table([("a", 53, 50, 50, 2.0)], "diameter_mm")])
    examples = select([("a", 54.5, 50, 50, 1), *FAR], both).examples
    # 1.5 mm from the small nodule, outside its radius; 4.5 mm from the large one, inside.
    assert examples.query("label == 1")["diameter_mm"].tolist() == [10.0]
    assert set(examples.query("label == 0")["diameter_mm"]) == {0.0}


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (("a", 60, 50, 50, 1), "nodule candidates that hit no annotation"),
        (("a", 52.5, 50, 50, 0), "non-nodule candidates that lie on a nodule"),
        (("a", 10, 90, 10, 0), "duplicate candidates"),
        (("a", 100, 50, 50, 0), "candidates whose centre lies outside the scan"),
        (("c", 50, 50, 50, 0), "candidates of a series without a file"),
    ],
)
def test_what_is_skipped_is_counted_and_changes_nothing_else(extra: tuple, reason: str) -> None:
    expected = select([*FAR, *HITS], ratio=99)
    selection = select([*FAR, *HITS, extra], ratio=99)
    assert selection.skipped[reason] == expected.skipped[reason] + 1
    assert centres(selection) == centres(expected)


def test_series_that_the_release_does_not_list_are_skipped() -> None:
    selection = select([*FAR, *HITS, ("b", 21, 20, 20, 1)], known={"a"})
    reason = "candidates of a series that seriesuids.csv does not list"
    assert selection.skipped[reason] == 1
    assert set(selection.examples["series"]) == {"a"}


@pytest.mark.parametrize(("diameter", "radius"), [(-1.0, 5.0), (6.0, 3.0), (20.0, 10.0)])
def test_excluded_findings_reach_as_far_as_their_radius(diameter: float, radius: float) -> None:
    excluded = table([("a", 50, 20, 20, diameter)], "diameter_mm")
    inside, outside = ("a", 50 + radius - 0.1, 20, 20, 0), ("a", 50 + radius + 0.1, 20, 20, 0)
    found = centres(select([inside, outside, *HITS], excluded=excluded))
    assert inside[1:4] not in found
    assert outside[1:4] in found


def test_an_excluded_finding_does_not_take_a_nodule_away() -> None:
    excluded = table([("a", 50, 50, 50, 10.0)], "diameter_mm")
    assert (select([*FAR, *HITS], excluded=excluded).examples["label"] == 1).sum() == 1


def test_one_centre_in_both_classes_is_refused() -> None:
    with pytest.raises(SourceError, match="both classes"):
        select([*FAR, *HITS, ("a", 10, 90, 10, 1)])


def test_many_centres_outside_are_no_accident() -> None:
    rows = [("a", -x, y, z, label) for _, x, y, z, label in FAR]
    with pytest.raises(SourceError, match=r"20 of 25 centres lie outside.*world coordinates"):
        select([*rows, *HITS])


def test_ids_depend_on_series_and_centre_only() -> None:
    assert example_id("a", [1, 2, 3]) == example_id("a", np.array([1.0, 2.00001, 3]))
    assert example_id("a", [0.0, 2, 3]) == example_id("a", [-0.0, 2, 3])
    assert example_id("a", [-0.00001, 2, 3]) == example_id("a", [0.0, 2, 3])
    assert len({example_id(s, [x, 2, 3]) for s in "ab" for x in (1, 1.001)}) == 4
    assert (
        example_id("1.2.3", [1, 2, 3]) == "e874b8c262c129c7"
    )  # a change would orphan every prediction
