import json
from dataclasses import replace

import numpy as np
import pytest

from mlp_med.errors import EvidenceError
from mlp_med.evidence.foreign import read_predictions
from mlp_med.evidence.pairing import pair_predictions
from mlp_med.evidence.simulation import SimulatedStudy, simulate_arms
from mlp_med.reports.verdict_report import judge_predictions, write_verdict
from tests.reports.reading import Page

TRUTH = SimulatedStudy(effect=0.08, num_patients=150, max_cases_per_patient=3)


@pytest.fixture(scope="module")
def arms():
    return simulate_arms(TRUTH, seed=1)


@pytest.fixture
def judge(tmp_path):
    def judge(a, b, *, margin=0.01, common_cases=False, by=(), **about):
        read = []
        for name, table in (("with depth", a), ("flat", b)):
            table.to_parquet(tmp_path / f"{name}.parquet", index=False)
            read.append(read_predictions(tmp_path / f"{name}.parquet", name, by=by))
        paired = pair_predictions(*read, common_cases=common_cases, by=by)
        return judge_predictions(paired, margin=margin, **about)

    return judge


def written(judged, directory):
    page = write_verdict(judged, directory, ["mlp-med", "verdict", "a b.parquet"])
    return Page(page.read_text()), json.loads((directory / "verdict.json").read_text())


def test_the_page_reads_as_a_studys(judge, arms, tmp_path):
    judged = judge(*arms, dataset="my scans")
    page, verdict = written(judged, tmp_path / "out")
    assert judged.sentence in page.text
    assert page.text.index(judged.sentence) < page.text.index("AUC of both arms")
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe"}
    pictures = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) == 2
    assert all(source.startswith("data:image/svg+xml;base64,") for source in pictures)
    assert len(page.table("Test AUC of every seed")) == 10
    assert page.table("Contrast of the arms")[0][1] == "with depth − flat"
    assert "mlp-med verdict 'a b.parquet'" in page.text
    assert verdict["verdict"] == "supported"
    assert verdict["ci_low"] > 0.01
    assert (verdict["dataset"], verdict["n_patients"], verdict["n_seeds"]) == ("my scans", 150, 5)
    assert [len(file["sha256"]) for file in verdict["files"]] == [64, 64]
    assert verdict["patients_only"] is None
    assert [row["resolution"] for row in verdict["arms"]] == [None, None]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "index.html", "verdict.json", "arms.svg", "arms.png", "contrasts.svg", "contrasts.png",
    }  # fmt: skip


def test_the_difference_is_broken_down_by_the_columns_that_are_asked_for(judge, arms, tmp_path):
    a, b = arms
    number = a["id"].str.removeprefix("case").astype(int)
    size = (5.0 + number % 9).where(a["label"] == 1)
    a = a.assign(scanner=np.where(number % 2, "A", "B"), size_mm=size, note="free text")
    page, verdict = written(judge(a, b, by=["scanner", "size_mm"]), tmp_path / "out")
    rows = page.table("The primary effect by stratum")
    num_cases, num_positive = a["id"].nunique(), int(a[a["label"] == 1]["id"].nunique())
    of_scanners = [row for row in rows if row[0] == "scanner"]
    assert [row[1] for row in of_scanners] == ["A", "B"]
    assert sum(int(row[2]) for row in of_scanners) == num_cases
    assert sum(int(row[2]) for row in rows if row[0] == "size_mm") == num_positive
    tested = page.table("Does the effect differ?")
    assert [row[:2] for row in tested] == [
        ["scanner", "A minus B"],
        ["size_mm", "5 to <7 minus 10 to 13"],
    ]
    assert "The strata of size_mm set their cases of label 1" in page.text
    assert "not used: note" in page.text
    assert (tmp_path / "out" / "strata.svg").exists()
    assert [row.get("word") for row in verdict["strata"]] == ["A", "B", None, None, None]
    assert verdict["interactions"][0]["first"] == {"word": "A"}
    # What is asked beside the claim does not touch it.
    assert verdict["effect"] == judge(*arms).contrast.effect


def test_a_property_may_stand_in_either_file_and_says_the_same_in_both(judge, arms):
    a, b = arms
    site = a["patient"].str[-1].isin(list("02468")).map({True: "A", False: "B"})
    with_site = [arm.assign(site=site.to_numpy()) for arm in arms]
    first, second, both = (
        judge(*pair, by=["site"]).strata.to_dict()
        for pair in ((with_site[0], b), (a, with_site[1]), with_site)
    )
    assert first == second == both
    with pytest.raises(EvidenceError, match=r"another site in .* leave it out of one file"):
        judge(with_site[0], b.assign(site=site.replace("A", "C").to_numpy()), by=["site"])
    with pytest.raises(EvidenceError, match=r"has a column age .* there are: site"):
        judge(with_site[0], b, by=["site", "age"])


def test_what_cannot_be_told_apart_or_tested_is_said(judge, arms, tmp_path):
    a, b = (table[table["seed"] == 0] for table in arms)
    number = a["id"].str.removeprefix("case").astype(int)
    judged = judge(a.assign(sex=number % 2, site="here"), b, by=["sex", "site"])
    notes = "\n".join(judged.notes)
    assert "site is the same for all cases that have it" in notes
    assert "differs by sex was not tested: that takes two seeds" in notes
    page, _ = written(judged, tmp_path / "out")
    rows = page.table("The primary effect by stratum")
    assert [row[:2] for row in rows] == [["sex", "0"], ["sex", "1"]]
    assert all(row[-1].endswith("patients alone") for row in rows)
    assert "set their cases of label 1" not in page.text


def test_the_other_way_round_it_is_refuted(judge, arms):
    assert judge(*reversed(arms)).verdict.outcome == "refuted"


def test_the_caveats_are_said(judge, arms):
    a, b = (table.assign(patient="") for table in arms)
    judged = judge(a, b, phantom=True)
    for words in ("On the phantom", "exploratory: patients unknown", "author of the predictions"):
        assert words in judged.sentence


def test_common_cases_are_said_everywhere(judge, arms, tmp_path):
    a, b = arms
    left_out = sorted(b["id"].unique())[:7]
    judged = judge(a, b[~b["id"].isin(left_out)], common_cases=True)
    words = "7 of with depth and 0 of flat were dropped"
    assert words in judged.sentence
    page, verdict = written(judged, tmp_path / "out")
    assert page.text.count(words) >= 2
    assert [file["dropped_cases"] for file in verdict["files"]] == [7, 0]
    assert verdict["n_cases"] == a["id"].nunique() - 7


def test_one_seed_has_an_effect_and_patients_only_and_no_verdict(judge, arms, tmp_path):
    a, b = (table[table["seed"] == 0] for table in arms)
    judged = judge(a, b.drop(columns="seed"))
    page, verdict = written(judged, tmp_path / "out")
    assert verdict["verdict"] is None
    assert "with one seed it is unknown how much seeds vary" in judged.sentence
    assert (verdict["ci_low"], verdict["ci_high"]) == (None, None)
    low, high = verdict["patients_only"]
    assert low < verdict["effect"] < high
    # As the independent formula has it.
    reach = 1.98 * judged.contrast.cross_check_standard_error
    assert (high - low) / 2 == pytest.approx(reach, rel=0.1)
    assert "Patients alone" in page.text
    assert "flat has no column seed" in page.text


def test_a_phantom_is_marked_on_every_title(judge, arms, tmp_path):
    page, _ = written(judge(*arms, phantom=True), tmp_path / "out")
    assert all(title.endswith("phantom") for title in page.tables)


def test_hostile_names_are_shown_and_not_obeyed(judge, arms, tmp_path):
    judged = judge(*arms, statement="<script>x</script>", dataset="<img src=x>")
    page, _ = written(judged, tmp_path / "out")
    assert "script" not in {tag for tag, _ in page.elements}
    assert "<script>x</script>" in page.text


def test_a_margin_that_is_none_is_refused(judge, arms):
    with pytest.raises(EvidenceError, match="margin"):
        judge(*arms, margin=-0.1)


def test_arms_that_cannot_be_told_apart_by_name_are_refused(judge, arms):
    judged = judge(*arms)
    same = replace(judged.predictions, b=replace(judged.predictions.b, name="with depth"))
    with pytest.raises(EvidenceError, match="different arms"):
        judge_predictions(same, margin=0.01)
