import csv
from pathlib import Path

import pytest

from tests.tfds_builders.cbis_ddsm_crops.drawn_release import all_cases, write_tables
from tfds_builders.cbis_ddsm_crops.case_tables import (
    PATHS,
    TABLES,
    crossing_patients,
    read_cases,
)

REAL = Path(__file__).parents[4] / "shared/real/cbis_ddsm"
MASSES = "mass_case_description_train_set.csv"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    write_tables(tmp_path, all_cases())
    return tmp_path


def problems_of(root: Path) -> list[str]:
    problems: list[str] = []
    read_cases(root, problems)
    return problems


@pytest.mark.skipif(not REAL.is_dir(), reason="the real tables are not at hand")
def test_the_real_tables_parse_whole():
    problems: list[str] = []
    cases = read_cases(REAL, problems)
    assert problems == []
    assert cases["table"].value_counts().to_dict() == {
        "mass_case_description_train_set.csv": 1318,
        "mass_case_description_test_set.csv": 378,
        "calc_case_description_train_set.csv": 1546,
        "calc_case_description_test_set.csv": 326,
    }
    assert cases["patient"].nunique() == 1566
    assert len(crossing_patients(cases)) == 31
    assert cases["id"].is_unique
    malignant = cases.groupby("kind")["pathology"].agg(lambda of: (of == "MALIGNANT").sum())
    assert malignant.to_dict() == {"mass": 637 + 147, "calcification": 544 + 129}
    assert cases["density"].value_counts()[0] == 2
    for name in PATHS:
        assert not cases[name].str.contains(r"\s").any()
        folders = cases[name].str.split("/").str[0]
        assert folders.str.contains(r"^(?:Mass|Calc)-(?:Training|Test)_P_\d{5}_").all()
    # Which of the two columns ends in 000000.dcm is the other way round for the other kind, and
    # neither is so for all: names tell nothing.
    ends = cases["mask_path"].str.endswith("000000.dcm").groupby(cases["kind"]).mean()
    assert ends["mass"] < 0.1
    assert ends["calcification"] > 0.9
    assert ends["mass"] > 0 or ends["calcification"] < 1


def test_line_breaks_within_fields_a_byte_order_mark_and_crlf_read_alike(tables):
    plain = read_cases(tables, [])
    for name in TABLES:
        text = (tables / name).read_text()
        (tables / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    pairs = [plain, read_cases(tables, [])]
    assert pairs[0].drop(columns="line").equals(pairs[1].drop(columns="line"))
    assert len(pairs[0]) == len(all_cases())


def test_rows_may_come_in_any_order(tables):
    plain = read_cases(tables, [])
    write_tables(tables, all_cases()[::-1])
    other = read_cases(tables, [])
    columns = [name for name in plain if name != "line"]
    one, two = (of.sort_values("id", ignore_index=True)[columns] for of in (plain, other))
    assert one.equals(two)


def test_semicolons_read_as_commas_do(tables):
    plain = read_cases(tables, [])
    for name in TABLES:
        with (tables / name).open(newline="") as file:
            rows = list(csv.reader(file))
        with (tables / name).open("w", newline="") as file:
            csv.writer(file, delimiter=";").writerows(rows)
    assert problems_of(tables) == []
    columns = [name for name in plain if name != "line"]
    assert read_cases(tables, [])[columns].equals(plain[columns])


def test_a_missing_table_and_a_missing_column_are_told(tables):
    (tables / MASSES).unlink()
    other = tables / "calc_case_description_test_set.csv"
    other.write_text(other.read_text().replace("pathology", "diagnosis"))
    assert ["is missing" in problem for problem in problems_of(tables)] == [True, False]
    assert "missing: pathology" in problems_of(tables)[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("LEFT,CC,1,mass", "MIDDLE,CC,1,mass", "expected LEFT or RIGHT"),
        (",mass,", ",cyst,", "expected 'mass' for kind, found 'cyst'"),
        ("MALIGNANT", "UNSURE", "for pathology, found 'UNSURE'"),
        ("LEFT,CC,1,mass", "LEFT,CC,one,mass", "for number, found 'one'"),
        (",4,MALIGNANT", ",7,MALIGNANT", "0 to 5 for assessment, found '7'"),
        ("Mass-Training_", "../Mass-Training_", "expected FOLDER/STUDY/SERIES/FILE"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_its_line(tables, old, new, message):
    text = (tables / MASSES).read_text()
    assert old in text
    (tables / MASSES).write_text(text.replace(old, new))
    (problem,) = problems_of(tables)
    assert message in problem
    assert "line " in problem


def test_an_abnormality_that_is_there_twice_is_told(tables):
    write_tables(tables, [*all_cases(), all_cases()[0]])
    (problem,) = problems_of(tables)
    assert "expected each abnormality of a view once" in problem
    assert all_cases()[0].id in problem
