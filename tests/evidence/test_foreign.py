import numpy as np
import pandas as pd
import pytest

from mlp_med.errors import EvidenceError
from mlp_med.evidence.foreign import read_predictions
from mlp_med.evidence.pairing import pair_predictions


def predictions(shift=0.0):
    rng = np.random.default_rng(0)
    label = np.tile([0, 1], 6)
    return pd.DataFrame(
        {
            "id": [f"c{i:02d}" for i in range(12)] * 2,
            "patient": [f"p{i // 2}" for i in range(12)] * 2,
            "seed": np.repeat([0, 1], 12),
            "label": np.tile(label, 2),
            "score": np.clip(rng.random(24) * 0.5 + 0.3 * np.tile(label, 2) + shift, 0, 1),
        }
    )


@pytest.fixture
def saved(tmp_path):
    def save(table, name="a.parquet"):
        path = tmp_path / name
        if name.endswith(".csv"):
            table.to_csv(path, index=False)
        else:
            table.to_parquet(path)
        return path

    return save


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda t: t.assign(label=t["label"].astype(bool)),
        lambda t: t.assign(label=t["label"].astype(str)),
        lambda t: t.assign(label=t["label"].astype(float), seed=t["seed"].astype(float)),
        lambda t: t.assign(label=t["label"].astype("Int64"), score=t["score"].astype("Float64")),
        lambda t: t.assign(id=t["id"].astype("category"), note="free text", logit=1.5),
        lambda t: t.assign(id=t["id"].str.encode("utf-8")),
        lambda t: t.assign(score=t["score"].map(repr)),
        lambda t: t.set_index("id"),
    ],
)
def test_one_meaning_in_other_types_is_one_table(saved, rewrite):
    plain = read_predictions(saved(predictions()), "a").table
    other = read_predictions(saved(rewrite(predictions()), "b.parquet"), "b").table
    pd.testing.assert_frame_equal(plain, other[plain.columns])


def test_a_csv_keeps_its_ids_as_they_are_written(saved):
    table = predictions()
    table["id"] = table["id"].str[1:]
    read = read_predictions(saved(table, "a.csv"), "a").table
    assert read["id"].iloc[0] == "00"
    np.testing.assert_allclose(read["score"], table["score"])


def test_logits_are_put_through_the_sigmoid_and_keep_their_order(saved):
    table = predictions()
    logits = table.assign(score=np.log(table["score"] / (1 - table["score"])))
    read = read_predictions(saved(logits), "a", logits=True)
    np.testing.assert_allclose(read.table["score"], table["score"])
    assert read.merged_scores == 0
    far = table.assign(score=np.linspace(40, 90, 24))
    assert read_predictions(saved(far), "a", logits=True).merged_scores > 0


def test_a_patient_column_with_a_gap_in_integers_is_not_two_spellings(saved):
    whole = predictions().assign(patient=np.tile(np.arange(12) // 2, 2))
    as_floats = whole.assign(patient=whole["patient"].astype(float))
    first, second = (
        read_predictions(saved(t, n), "a").table
        for t, n in ((whole, "a.parquet"), (as_floats, "b.parquet"))
    )
    assert first["patient"].tolist() == second["patient"].tolist()


@pytest.mark.parametrize("nothing", ["", None, "nan", float("nan")])
def test_patients_that_nobody_knows_are_empty(saved, nothing):
    read = read_predictions(saved(predictions().assign(patient=nothing)), "a")
    assert set(read.table["patient"]) == {""}


def test_without_a_column_seed_all_rows_are_of_one(saved):
    one = predictions().query("seed == 0").drop(columns="seed")
    read = read_predictions(saved(one), "a")
    assert not read.has_seeds
    assert read.table["seed"].nunique() == 1


def with_cell(column, value):
    table = predictions().astype({column: object})
    table.loc[5, column] = value
    return table.infer_objects()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (predictions().rename(columns={"patient": "patient_id"}), "rename patient_id to patient"),
        (predictions().rename(columns={"label": "y_true"}), "rename y_true to label"),
        (predictions().rename(columns={"score": "prob"}), "rename prob to score"),
        (predictions().rename(columns={"id": "Case ID"}), "rename Case ID to id"),
        (predictions().drop(columns="patient"), "add an empty column patient"),
        (predictions()[["id"]], "patient, label, score missing, present: id"),
        (predictions().iloc[:0], "no rows"),
        (with_cell("patient", ""), "1 of 24 rows have no patient"),
        (predictions().assign(patient="unknown"), "all rows have the patient 'unknown'"),
        (with_cell("id", None), "1 rows have no id"),
        (with_cell("score", float("nan")), "1 of 24 rows have a score that is not a finite"),
        (with_cell("score", 1.5), "1 of 24 scores are outside.*give --logits"),
        (with_cell("score", -0.5), "give --logits"),
        (predictions().assign(seed=0.5), "whole number, 0.5"),
        (predictions().assign(label=np.tile(["benign", "malignant"], 12)), "neither 0 nor 1"),
        (predictions().assign(label=predictions()["label"] + 1), "neither 0 nor 1"),
        (predictions().assign(label=1), "all 24 rows have label 1"),
        (predictions().assign(seed=0), "'c00' occurs more than once for seed 0, and 12 rows"),
        (predictions().drop(columns="seed"), "say which in a column seed"),
        (with_cell("label", 0), "more than one label"),
    ],
)
def test_what_cannot_be_evidence_is_refused(saved, table, message):
    with pytest.raises(EvidenceError, match=message):
        read_predictions(saved(table), "a")


def with_column(values):
    """Values of the twelve cases, for both seeds."""
    return predictions().assign(what=list(values) * 2)


SIZES = [None, 3.5] * 6  # of lesions, in millimetres


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3] * 4, [1, 2, 3] * 4),
        (["A", "B", "B"] * 4, ["A", "B", "B"] * 4),
        (["1.5", "B", "B"] * 4, ["1.5", "B", "B"] * 4),
        (SIZES, [np.nan, 3.5] * 6),
        ([0.0, 3.5] * 6, [np.nan, 3.5] * 6),
        ([0.0, 3.5, 1.0, 3.5] * 3, [0, 3.5, 1, 3.5] * 3),
        (["", "mass"] * 6, ["", "mass"] * 6),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_column_to_break_down_by_is_of_numbers_or_of_words(saved, values, expected, name):
    read = read_predictions(saved(with_column(values), name), "a", by=["what"])
    assert read.by == ("what",)
    assert "what" not in read.ignored_columns
    found = read.table.drop_duplicates("id")["what"]
    pd.testing.assert_series_equal(found, pd.Series(expected, name="what"), check_dtype=False)


@pytest.mark.parametrize(
    ("table", "by", "message"),
    [
        (predictions(), "patient", "cannot be broken down by patient"),
        (predictions().assign(fold=0), "fold", "cannot be broken down by fold"),
        (predictions().assign(score_2=0), "score_2", "cannot be broken down by score_2"),
        (with_column(["none", "mass"] * 6), "what", "leave it empty for label 0"),
        (with_column([*"AAAAAAAAAAA", ""]), "what", "2 of 24 rows have no what, such as .*'c11'"),
        (with_column(["A", "B", "", *"AAAAAAAAA"]), "what", "or for all cases of label 1"),
        (
            predictions().assign(what=["same", *(f"w{n}" for n in range(22)), "same"]),
            "what",
            "23 wo",
        ),
        (predictions().assign(what=["A"] * 23 + ["B"]), "what", "more than one what"),
    ],
)
def test_a_column_that_cannot_break_results_down_is_refused(saved, table, by, message):
    with pytest.raises(EvidenceError, match=message):
        read_predictions(saved(table), "a", by=[by])


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "a.parquet", "is empty"),
        (b"", "a.csv", "is empty"),
        (b"not Parquet at all", "a.parquet", "neither Parquet nor"),
        (b"PAR1\x00\xff\xfe", "a.csv", "neither Parquet nor"),
        (b"id;patient;seed;label;score\n1;2;3;0;0.5\n", "a.csv", "separate its columns by commas"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, name, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EvidenceError, match=message):
        read_predictions(tmp_path / name, "a")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(EvidenceError, match=r"cannot read .*absent.parquet"):
        read_predictions(tmp_path / "absent.parquet", "a")


def paired(saved, a, b, **options):
    return pair_predictions(
        read_predictions(saved(a, "a.parquet"), "a"),
        read_predictions(saved(b, "b.parquet"), "b"),
        **options,
    )


def test_unequal_cases_are_refused_with_counts_or_cut_to_the_common_ones(saved):
    a = predictions()[lambda t: t["id"] != "c11"]
    b = predictions(0.1)[lambda t: ~t["id"].isin(["c00", "c01"])]
    with pytest.raises(EvidenceError, match=r"9 are in both, 2 only in .*'c00', and 1 only in"):
        paired(saved, a, b)
    pair = paired(saved, a, b, common_cases=True)
    assert (pair.num_cases, pair.dropped) == (9, (2, 1))
    assert set(pair.table_a["id"]) == set(pair.table_b["id"])
    with pytest.raises(EvidenceError, match="no case is common"):
        paired(saved, a, b.assign(id="x" + b["id"]), common_cases=True)


def test_a_seed_that_lacks_a_case_is_refused_or_the_case_is_dropped(saved):
    with pytest.raises(EvidenceError, match=r"1 cases, such as 'c11', were not scored by every"):
        paired(saved, predictions().iloc[:-1], predictions(0.1))
    assert paired(saved, predictions().iloc[:-1], predictions(0.1), common_cases=True).dropped == (
        1,
        1,
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (predictions(), "hold the same predictions"),
        (predictions().sample(frac=1, random_state=0), "hold the same predictions"),
        (predictions(0.1).assign(label=1 - predictions()["label"]), "12 of 12 .* another label"),
        (predictions(0.1).assign(patient=""), "12 of 12 cases have another patient"),
    ],
)
def test_arms_that_do_not_fit_are_refused(saved, other, message):
    with pytest.raises(EvidenceError, match=message):
        paired(saved, predictions(), other)
