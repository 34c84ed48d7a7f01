import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mlp_med.errors import LedgerError
from mlp_med.evidence.calibration import read_record
from mlp_med.evidence.convergence import Convergence
from mlp_med.ledger import names, write
from mlp_med.ledger.read import read_study
from mlp_med.reports import study_report
from mlp_med.reports.analysis import analyse
from mlp_med.reports.study_data import load_study_data
from mlp_med.reports.study_report import draw_figures, write_report
from tests.reports.conftest import CONTROLS
from tests.reports.reading import Page
from tests.reports.synthetic import ARMS, BUDGET, finish, predictions_of


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_the_page_stands_alone(report):
    page = Page(report.page.read_text())
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object"}
    sources = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    assert len(sources) == 6
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "url(" not in page.html


def test_the_verdict_comes_first(report):
    text = Page(report.page.read_text()).text
    place = text.index(report.sentence)
    assert place < text.index("AUC against resolution")
    assert "controls passed" in report.sentence
    assert "provisional" in report.sentence
    assert "incomplete: 5mm, 2.5mm" in report.sentence


def test_every_title_of_a_phantom_study_says_so(study, report):
    page = Page(report.page.read_text())
    about_results = [
        h for h in page.headings if h not in ("Not done", "Provenance", "How to rerun")
    ]
    assert len(about_results) == 7
    for title in [*about_results, *page.tables]:
        assert title.endswith("phantom"), title
    ledger, record = study
    data = load_study_data(ledger, record)
    figures = draw_figures(record, data, analyse(record, data, CONTROLS))
    of_others = {"calibration", "auc_by_fraction", "equal_memory"}
    assert set(figures) == set(study_report.FIGURES) - of_others
    for figure in figures.values():
        assert figure.get_suptitle().endswith("phantom")


def test_a_study_of_real_scans_does_not_speak_of_phantoms(patches_report):
    page = Page(patches_report.page.read_text())
    # The controls alone are drawn, and say so; the scans are not.
    assert "phantom" not in patches_report.sentence
    assert "these scans were drawn" not in page.text
    assert not any(title.endswith("phantom") for title in [*page.headings, *page.tables])
    assert json.loads(patches_report.verdict.read_text())["phantom"] is False


def test_a_stratum_of_all_cases_is_not_told_apart(report, patches_report):
    told = "coarsest native axis"
    assert told in Page(report.page.read_text()).text
    assert told not in Page(patches_report.page.read_text()).text


def test_what_is_not_done_is_listed_and_enters_no_table(study, report):
    page = Page(report.page.read_text())
    assert page.table("Cells without a result") == [
        ["5mm", "1", "failed", "non_finite_loss", "loss became NaN at step 310"],
        ["2.5mm", "2", "running", "", ""],
    ]
    ledger, record = study
    data = load_study_data(ledger, record)
    shown = set(zip(data.cells["arm"], data.cells["seed"], strict=True))
    assert len(shown) == 10
    assert not shown & {("5mm", 1), ("2.5mm", 2)}
    for arm, predictions in data.predictions.items():
        assert {(arm, seed) for seed in predictions["seed"]} == {c for c in shown if c[0] == arm}
    curves = set(zip(data.curves["arm"], data.curves["seed"], strict=True))
    assert curves == shown


def counted(ledger, record):
    """The seeds that count, by arm."""
    analysis = analyse(record, load_study_data(ledger, record), CONTROLS)
    return {row.arm: row.num_seeds for row in analysis.arms}


@pytest.mark.parametrize("state", ["running", "failed"])
def test_a_cell_killed_just_before_done_enters_no_table(whole_study, state):
    ledger, record = whole_study
    # Its predictions and figures are all there; only the last word is missing.
    (victim,) = [c for c in record.cells if (c.arm, c.params["seed"]) == ("5mm", 0)]
    ledger.client.set_tag(victim.run_id, names.STATE, state)
    after = counted(ledger, read_study(ledger, record.run_id))
    assert after == {arm: 3 - (arm == "5mm") for arm in ARMS}


def test_a_cell_that_ran_twice_counts_once(whole_study):
    ledger, record = whole_study
    cell = record.cells[0]
    dataset = write.DatasetInput("luna16/1.25mm", "d", "/data")
    run_id = write.start_cell(ledger, record.run_id, cell.params, cell.hash, cell.arm, {}, dataset)
    finish(ledger, run_id, cell.arm, 0, predictions_of(cell.arm, 0))
    assert counted(ledger, read_study(ledger, record.run_id)) == dict.fromkeys(ARMS, 3)


def test_hostile_words_are_shown_and_not_obeyed(make_study, tmp_path):
    evil = "<script>alert(1)</script>"
    name = '"><img src=x onerror=alert(1)> $\\frac{$ {{ 7 * 7 }}'
    written = write_report(
        *make_study(message=evil, dataset=name, failed=(("5mm", 1),)), tmp_path, controls=CONTROLS
    )
    page = Page(written.page.read_text())
    assert "script" not in {tag for tag, _ in page.elements}
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]
    assert all(
        attributes["src"].startswith("data:") for tag, attributes in page.elements if tag == "img"
    )
    assert page.table("Cells without a result")[0][-1] == evil
    assert name in page.text
    assert json.loads(written.verdict.read_text())["dataset"] == name
    for figure in written.figures:
        assert b"<script" not in figure.read_bytes()


@pytest.mark.usefixtures("_undrawn")
def test_of_a_dataset_with_several_tasks_it_says_which(make_study, tmp_path):
    """Lesion against background and malignant against benign are not the same claim."""
    written = write_report(
        *make_study(dataset="mammograms", task="pathology"), tmp_path, controls=CONTROLS
    )
    page = Page(written.page.read_text())
    assert "phantom mammograms (pathology)" in page.text
    assert "--source /data/luna16 --task pathology" in page.text
    assert json.loads(written.verdict.read_text())["dataset"] == "mammograms (pathology)"


@pytest.mark.usefixtures("_undrawn")
def test_lesions_of_several_types_are_told_apart(make_study, tmp_path):
    """Calcifications are what resolution is bought for, masses can be seen without it."""
    columns = {"kind": ["mass", "calcification"], "density": [0, 1, 2, 3, 4]}
    study = make_study(failed=(), running=(), columns=columns, task="lesion")
    page = Page(write_report(*study, tmp_path, controls=CONTROLS).page.read_text())
    rows = page.table("The primary effect by stratum")
    of_kinds = [row[1:3] for row in rows if row[0] == "kind"]
    assert of_kinds == [["calcification", "100"], ["mass", "100"]]
    by_density = [row[1:3] for row in rows if row[0].startswith("breast density")]
    assert by_density == [[str(grade), "40"] for grade in (1, 2, 3, 4)]
    assert "Of 40 cases the breast density, BI-RADS 1 to 4 is not known" in page.text
    (tested,) = [row for row in page.table("Does the effect differ?") if row[0] == "kind"]
    assert tested[1] == "calcification minus mass"
    assert "the lesion that it was cut for" in page.text


def test_a_report_that_fails_leaves_the_old_one(study, report, tmp_path, monkeypatch):
    shutil.copytree(report.page.parent, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path)
    original = Path.write_bytes

    def full_disk(path, content):
        if path.name == "index.html":
            raise OSError(28, "No space left on device")
        return original(path, content)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    monkeypatch.setattr(study_report, "to_svg", lambda figure: b"<svg>another</svg>")
    with pytest.raises(LedgerError, match="No space left"):
        write_report(*study, tmp_path, controls=CONTROLS)
    assert contents(tmp_path) == before


def test_an_out_directory_that_is_a_file_is_refused(study, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(LedgerError, match="--out DIR"):
        write_report(*study, tmp_path / "file", controls=CONTROLS)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_same_ledger_gives_the_same_files(study, report, tmp_path):
    again = write_report(*study, tmp_path, controls=CONTROLS)
    assert contents(again.page.parent) == contents(report.page.parent)


def test_a_figure_of_the_report_before_does_not_stay_beside_a_page_without_it(make_study, tmp_path):
    nothing_done = [(arm, 0) for arm in ARMS]
    (tmp_path / "strata.svg").write_text("old")
    (tmp_path / "notes.svg").write_text("the user's own")
    written = write_report(
        *make_study(num_seeds=1, failed=nothing_done, running=()), tmp_path, controls=CONTROLS
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        "index.html",
        "verdict.json",
        "notes.svg",
    }
    assert "No cell is done." in Page(written.page.read_text()).text
    verdict = json.loads(written.verdict.read_text())
    assert (verdict["verdict"], verdict["effect"], verdict["arms"]) == (None, None, [])


@pytest.mark.usefixtures("_undrawn")
def test_one_seed_has_no_standard_error_and_no_verdict(make_study, tmp_path):
    written = write_report(
        *make_study(num_seeds=1, failed=(), running=()), tmp_path, controls=CONTROLS
    )
    arms = Page(written.page.read_text()).table("Test AUC of every arm")
    assert [(row[3], row[4], row[5]) for row in arms] == [("n/a", "n/a", "1")] * 4
    assert json.loads(written.verdict.read_text())["verdict"] is None


def test_unknown_patients_are_exploratory(patches_report):
    verdict = json.loads(patches_report.verdict.read_text())
    assert (verdict["exploratory"], verdict["n_patients"]) == (True, None)
    page = Page(patches_report.page.read_text())
    assert "exploratory" in page.text
    assert {row[-2] for row in page.table("Contrasts of arms")} == {"unknown"}


def test_a_smoke_study_claims_nothing(whole_study):
    ledger, record = whole_study
    record.plan.update(size="smoke", no_verdict_reason="the smoke size claims nothing")
    verdict = analyse(record, load_study_data(ledger, record), CONTROLS).verdict
    assert verdict.outcome is None
    assert "no verdict" in verdict.sentence


def test_cells_of_unlike_code_are_pointed_at(patches_report):
    text = Page(patches_report.page.read_text()).text
    assert "The finished cells differ in code_digest: old, new." in text


def test_the_report_and_the_verdict_are_kept_with_the_study(study, report):
    ledger, record = study
    kept = {artifact.path for artifact in ledger.client.list_artifacts(record.run_id, "report")}
    assert kept == {f"report/{path.name}" for path in report.page.parent.iterdir()}
    run = ledger.client.get_run(record.run_id)
    verdict = json.loads(report.verdict.read_text())
    assert run.data.tags["mlp_med.verdict"] == str(verdict["verdict"]).lower()
    assert run.data.metrics["effect"] == verdict["effect"]


def test_the_crops_of_the_ledger_are_shown(patches_report):
    page = Page(patches_report.page.read_text())
    pictures = [a["src"] for tag, a in page.elements if tag == "img" and "png" in a["src"]]
    assert pictures == ["data:image/png;base64,iVBORyBjcm9wcw=="]
    assert "The same crops at each resolution" in page.headings


def pilot_of(rises):
    arms = {}
    for arm, rise in rises.items():
        found = Convergence(BUDGET, rise, rise - 0.001, rise + 0.001, 5, 0.01)
        arms[arm] = {
            "learning_rate": 1e-3,
            "grid": [[1e-3, 0.9]],
            "on_edge": False,
            "convergence": found.to_dict(),
        }
    return {"budget_examples": BUDGET, "arms": arms, "origin": {}}


def test_an_arm_that_still_rises_is_named_and_withholds_the_verdict(whole_study):
    rises = {"1.25mm": 0.0, "5mm upsampled to 1.25mm": 0.05}
    ledger, record = whole_study
    record.plan["pilot"] = pilot_of(rises)
    verdict = analyse(record, load_study_data(ledger, record), CONTROLS).verdict
    assert verdict.unconverged_arms == ("5mm upsampled to 1.25mm",)
    assert "still rising" in verdict.sentence
    assert verdict.outcome is None


def test_real_data_without_its_own_controls_carry_no_verdict(make_study):
    ledger, record = make_study(failed=(), running=(), phantom=False)
    record.plan["claim"]["a_a"] = ["5mm", "5mm, other seeds"]
    record.plan["claim"]["permuted"] = "5mm, permuted labels"
    verdict = analyse(record, load_study_data(ledger, record), CONTROLS).verdict
    assert verdict.outcome is None
    assert "no finished cell of 5mm, other seeds" in verdict.sentence


@pytest.mark.parametrize(
    ("phantom", "command"),
    [(True, "run: make pilot"), (False, "run: mlp-med study pilot resolution_matters")],
)
def test_without_a_pilot_there_is_no_verdict_and_the_sentence_says_what_to_run(
    make_study, phantom, command
):
    ledger, record = make_study(failed=(), running=(), pilot=None, phantom=phantom)
    verdict = analyse(record, load_study_data(ledger, record), CONTROLS).verdict
    assert verdict.outcome is None
    assert command in verdict.sentence


FINE, UPSAMPLED = "1.25mm", "5mm upsampled to 1.25mm"
IN_PARTS = [
    f"{arm}{part}"
    for arm in (FINE, UPSAMPLED)
    for part in ("", ", 1/2 of the patients", ", 1/8 of the patients")
]


@pytest.fixture(scope="module")
def by_fraction(make_study):
    """A study of more data: the claim compares half of the patients with all of them."""
    convergence = {"budget_examples": 100, "rise": 0.0, "lower": -0.001, "upper": 0.001}
    convergence |= {"num_seeds": 3, "margin": 0.01}
    piloted = {arm: {"convergence": convergence} for arm in (FINE, UPSAMPLED)}
    taken_over = {arm: arm.partition(", ")[0] for arm in IN_PARTS if "," in arm}
    ledger, record = make_study(
        failed=(),
        running=(),
        arms=IN_PARTS,
        pilot={"arms": piloted, "settings_of": taken_over},
    )
    record.plan["claim"] |= {"primary": [f"{FINE}, 1/2 of the patients", UPSAMPLED]}
    record.plan["claim"] |= {"secondary": {"resolution, all patients": [FINE, UPSAMPLED]}}
    return ledger, record


def test_fewer_patients_are_an_axis_of_their_own(by_fraction):
    ledger, record = by_fraction
    data = load_study_data(ledger, record)
    analysis = analyse(record, data, CONTROLS)
    # The figure of resolutions, the slope and the table's order know of whole training sets only.
    assert [row.arm for row in analysis.whole] == [FINE, UPSAMPLED]
    assert [row.arm for row in analysis.by_fraction] == IN_PARTS
    assert {analysis.line_of(row) for row in analysis.by_fraction} == {FINE, UPSAMPLED}
    assert analysis.slope_per_octave is None
    drawn = draw_figures(record, data, analysis)["auc_by_fraction"]
    (axis,) = drawn.axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == [
        "1/8\n(100)",
        "1/2\n(400)",
        "1\n(800)",
    ]
    means = [row.estimate.mean_auc for row in analysis.by_fraction if row.arm.startswith(FINE)]
    assert means == sorted(means, reverse=True)


def test_an_arm_of_fewer_patients_has_converged_if_that_of_all_has(by_fraction):
    ledger, record = by_fraction
    verdict = analyse(record, load_study_data(ledger, record), CONTROLS).verdict
    assert verdict.convergence[f"{FINE}, 1/2 of the patients"].converged
    assert not verdict.unconverged_arms
    rising = {"budget_examples": 100, "rise": 0.1, "lower": 0.05, "upper": 0.15, "num_seeds": 3}
    record.plan["pilot"]["arms"][FINE]["convergence"] = {**rising, "margin": 0.01}
    verdict = analyse(record, load_study_data(ledger, record), CONTROLS).verdict
    assert set(verdict.unconverged_arms) == {FINE, f"{FINE}, 1/2 of the patients"}


@pytest.fixture(scope="module")
def cross_validated(make_study):
    """The study in four folds."""
    return make_study(failed=(), running=(), folds=(0, 1, 2, 3))


@pytest.mark.usefixtures("_undrawn")
def test_folds_are_joined_and_their_scales_told_apart(cross_validated, whole_study, tmp_path):
    ledger, record = cross_validated
    data = load_study_data(ledger, record)
    assert len(data.cells) == 4 * 4 * 3
    verdict = analyse(record, data, CONTROLS).verdict
    ledger_of_one, of_one = whole_study
    plain = analyse(of_one, load_study_data(ledger_of_one, of_one), CONTROLS).verdict
    # All cases are tested once; pairs of two folds no longer count.
    assert verdict.contrast.num_cases == plain.contrast.num_cases
    assert verdict.contrast.num_patients == plain.contrast.num_patients
    assert verdict.contrast.effect == pytest.approx(plain.contrast.effect, abs=0.03)
    paths = write_report(ledger, record, tmp_path, controls=CONTROLS)
    assert "<dt>folds</dt><dd>4</dd>" in paths.page.read_text()


def test_a_seed_that_lacks_a_fold_is_left_out(make_study):
    ledger, record = make_study(failed=(), running=(), folds=(0, 1, 2))
    cells = list(record.cells)
    place = next(
        i
        for i, cell in enumerate(cells)
        if (cell.arm, cell.params["seed"], cell.params["fold"]) == ("5mm", 1, 2)
    )
    cells[place] = replace(cells[place], state="failed")
    data = load_study_data(ledger, replace(record, cells=cells))
    assert set(data.predictions["5mm"]["seed"]) == {0, 2}
    assert set(data.predictions["2.5mm"]["seed"]) == {0, 1, 2}


def test_the_page_shows_how_often_such_a_verdict_errs(study, tmp_path):
    record = read_record(Path("experiments/calibration.json"))
    written = write_report(*study, tmp_path, controls=CONTROLS, calibration=record)
    page = Page(written.page.read_text())
    assert "How often such a verdict errs" in page.headings
    assert f"{len(record.table)} kinds of study" in page.text
    assert (tmp_path / "calibration.svg").exists()
