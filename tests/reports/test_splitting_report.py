"""The report of a study of tiles: labels needed, and what the borders between tiles cost."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from mlp_med.evidence.claim import Claim
from mlp_med.ledger import study_run, write
from mlp_med.ledger.read import read_study
from mlp_med.reports.seams import find_seams
from mlp_med.reports.several_report import write_several_report
from mlp_med.reports.study_data import StudyData
from tests.ledger.copying import copied
from tests.reports.conftest import CONTROLS
from tests.reports.synthetic import cell_of, plan_of

WHOLE, TILES, DRAWN = "whole", "2 tiles an axis, image labels", "2 tiles an axis, drawn lesions"
SPLIT = {WHOLE: (1, "image"), TILES: (2, "image"), DRAWN: (2, "lesion")}
TARGET, NUM_SEEDS = 0.8, 5
CUT_SHARE = 0.6


def predictions_of(arm, seed, *, lost_where_cut, lost_elsewhere=0.0):
    """Scores whose signal tiles lose where a border cuts, or everywhere."""
    rng = np.random.default_rng(7)
    number = np.arange(600)
    label, uncut = number % 2, (rng.random(600) > CUT_SHARE).astype(float)
    difficulty = rng.normal(size=60)[number // 10]
    signal = 1.8 * label
    if arm == TILES:
        signal = signal - label * np.where(uncut == 0, lost_where_cut, lost_elsewhere)
    noise = np.random.default_rng([seed, len(arm)]).normal(size=600)
    score = 1 / (1 + np.exp(-(signal + 0.3 * difficulty + noise - 1)))
    return pd.DataFrame(
        {
            "id": [f"c{i:04d}" for i in number],
            "patient": [f"p{i // 10:03d}" for i in number],
            "seed": np.int64(seed),
            "label": label,
            "score": score,
            "fold": np.int64(-1),
            "uncut_by_2_tiles": np.where(label == 1, uncut, 0.0).astype(np.float32),
        }
    )


def data_of(**lost):
    cells = pd.DataFrame({"arm": list(SPLIT), "split": [split for split, _ in SPLIT.values()]})
    predictions = {
        arm: pd.concat([predictions_of(arm, seed, **lost) for seed in range(NUM_SEEDS)])
        for arm in SPLIT
    }
    return StudyData(cells, predictions, pd.DataFrame(), tuple(SPLIT))


def claim(name, primary, metric="auc", margin=0.01, target=None, secondary=None):
    return Claim(
        question="What does splitting cost?",
        name=name,
        statement=f"claim {name}",
        margin=margin,
        primary=primary,
        metric=metric,
        target=target,
        secondary=secondary or {},
    )


CLAIMS = (
    claim("a", (WHOLE, TILES), secondary={"drawn": (WHOLE, DRAWN), "tiles": (DRAWN, TILES)}),
    claim("b, seconds", (TILES, WHOLE), "seconds_to_target", 0.05, TARGET),
    claim("d", (DRAWN, TILES)),
)


def test_borders_that_cost_are_told_from_tiles_that_lose_everywhere():
    by_tiles = {
        seam.arms[1]: seam for seam in find_seams(CLAIMS[0], data_of(lost_where_cut=1.5), seed=0)
    }
    seam = by_tiles[TILES]
    assert seam.cut.num_cases + seam.uncut.num_cases == 300  # positives
    assert abs(seam.cut.num_cases / 300 - CUT_SHARE) < 0.1
    assert seam.cut.contrast.effect > 0.1 > 0.03 > abs(seam.uncut.contrast.effect)
    assert seam.interaction.ci_low > 0
    assert abs(by_tiles[DRAWN].interaction.difference) < 0.06 < seam.interaction.difference
    everywhere = find_seams(CLAIMS[0], data_of(lost_where_cut=1.0, lost_elsewhere=1.0), seed=0)[0]
    assert min(everywhere.cut.contrast.effect, everywhere.uncut.contrast.effect) > 0.1
    assert everywhere.interaction.ci_low < 0 < everywhere.interaction.ci_high
    # Two arms of tiles say nothing of borders.
    assert set(by_tiles) == {TILES, DRAWN}


def test_without_the_column_or_the_arm_there_are_no_seams():
    data = data_of(lost_where_cut=1.0)
    bare = {arm: table.drop(columns="uncut_by_2_tiles") for arm, table in data.predictions.items()}
    assert not find_seams(CLAIMS[0], StudyData(data.cells, bare, data.curves, data.arms), seed=0)
    assert not find_seams(CLAIMS[0], StudyData(data.cells, {}, data.curves, data.arms), seed=0)


@pytest.fixture
def report(blank_database, tmp_path):
    """Writes such a study, of which `failed` arms have no done cell, and its report."""

    def write_it(failed=(), *, has_pilot=True):
        ledger = copied(blank_database, tmp_path)
        plan = plan_of(
            asdict(CLAIMS[0]),
            claims=[asdict(each) for each in CLAIMS],
            pilot={"arms": {}} if has_pilot else None,
            pilot_command="make splitting-pilot",
        )
        plan["name"] = "splitting_costs"
        plan["cells"] = [
            {"hash": f"{arm}/{seed}", "arm": arm, "params": params_of(arm, seed)}
            for arm in SPLIT
            for seed in range(NUM_SEEDS)
        ]
        study = study_run.start_study(ledger, plan["name"], "study0", plan, {"phantom": "true"})
        for cell in plan["cells"]:
            dataset = write.DatasetInput("luna16_fields/2.5mm", "d" * 64, "/data/luna16")
            arm, seed = cell["arm"], cell["params"]["seed"]
            run_id = write.start_cell(ledger, study, cell["params"], cell["hash"], arm, {}, dataset)
            if arm in failed:
                write.fail_cell(ledger, run_id, "killed", "it failed")
            else:
                finish(ledger, run_id, arm, seed)
        study_run.finish_study(ledger, study)
        record = read_study(ledger, study)
        return write_several_report(ledger, record, tmp_path / "out", controls=CONTROLS)

    return write_it


def params_of(arm, seed):
    split, labels = SPLIT[arm]
    return cell_of("5mm", seed) | {"split": split, "tile_labels": labels, "norm": "group"}


def finish(ledger, run_id, arm, seed):
    first_met = 6 if arm == TILES else 2
    curve = pd.DataFrame(
        {
            "examples_seen": np.arange(1, 11) * 100,
            "validation_auc": np.where(np.arange(1, 11) >= first_met, TARGET + 0.01, 0.7),
            "seconds_elapsed": np.arange(1, 11) * (1 + 0.01 * seed),
        }
    )
    write.log_curve(ledger, run_id, curve)
    metrics = {
        "seconds_total": 20.0,
        "peak_memory_bytes": 6e8,
        "num_image_labels": 2638.0,
        "num_drawn_lesions": 1938.0 if arm == DRAWN else 0.0,
        "test_auc": 0.8,
    }
    write.finish_cell(ledger, run_id, metrics, predictions_of(arm, seed, lost_where_cut=1.5))


def test_the_page_tells_labels_and_seams_and_nothing_of_batches(report):
    paths = report()
    page = paths.page.read_text()
    verdict = json.loads(paths.verdict.read_text())
    assert [each["verdict"] for each in verdict["claims"]] == ["supported"] * 3
    assert page.count("2,638") == 3
    assert page.count("1,938") == 1
    assert "image labels</th>" in page
    assert "<h2>Seams" in page
    assert "AUC against the batch" not in page
    names = {figure.name for figure in paths.figures}
    assert {"auc_by_arm.svg", "seams.svg", "beside.svg"} <= names
    assert "auc_by_batch.svg" not in names
    (seam, drawn) = verdict["seams"]
    assert seam["arms"] == [WHOLE, TILES]
    assert seam["interaction"]["ci_low"] > 0
    assert drawn["arms"] == [WHOLE, DRAWN]


@pytest.mark.usefixtures("_undrawn")
def test_every_cell_of_the_tiles_failed(report):
    paths = report(failed=(TILES,))
    verdict = json.loads(paths.verdict.read_text())
    assert {each["reason"] for each in verdict["claims"]} == {
        f"every cell of {TILES} failed (killed)"
    }
    assert [seam["arms"] for seam in verdict["seams"]] == [[WHOLE, DRAWN]]


@pytest.mark.usefixtures("_undrawn")
def test_without_a_pilot_it_says_how_to_record_one(report):
    assert "run: make splitting-pilot" in report(has_pilot=False).sentence
