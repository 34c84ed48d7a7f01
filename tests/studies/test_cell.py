import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_med.errors import StudyError
from mlp_med.studies.cell import Cell


def test_every_field_changes_the_hash(make_cell):
    cell = make_cell(norm="none")
    other = {
        "resolution": 10.0,
        "control": "information",
        "grid": 1.25,
        "global_batch_size": 16,
        "accumulation_steps": 2,
        "moment_window_batch": 32,
        "recompute": True,
        "stream_tile": 64,
        "split": 2,
        "tile_labels": "bag",
        "budget_examples": 160,
        "augment": False,
        "norm": "group",
        "depth": "matched",
        "precision": "mixed_bfloat16",
        "learning_rate": 2e-3,
        "fold": 3,
        "training_fraction": 0.5,
        "num_evaluations": 3,
        "stop_at_training_loss": 0.05,
        "intra_op_threads": 2,
        "num_workers": 2,
        "scored_split": "validation",
        "seed": 1,
        "dataset": "metastasis_patches",
        "dataset_digest": "abd",
        "model": "residual",
    }
    assert set(other) == {field.name for field in dataclasses.fields(Cell)}
    together = {"control": ["grid"], "grid": ["control"], "resolution": ["grid"]}
    hashes = {cell.hash}
    for name, value in other.items():
        changes = {name: value}
        if name in together:
            changes |= {"grid": 1.25 if name != "resolution" else 10.0}
            changes |= {"control": "information"} if name != "resolution" else {}
        if name == "tile_labels":
            changes |= {"split": 2}
        hashes.add(dataclasses.replace(cell, **changes).hash)
    assert len(hashes) == len(other)  # control and grid can only change together


def test_a_hash_is_the_same_on_every_machine(make_cell):
    assert make_cell().hash == "3d1f42fc08ccee7e"


@given(seed=st.integers(0, 2**31), rate=st.floats(1e-9, 1e3), augment=st.booleans())
def test_a_cell_comes_back_from_the_text_of_the_ledger(seed, rate, augment):
    cell = Cell(
        dataset="luna16",
        dataset_digest="abc",
        resolution=1.25,
        grid=0.625,
        control="information",
        model="residual",
        depth="fixed",
        norm="group",
        precision="float32",
        global_batch_size=4,
        accumulation_steps=2,
        moment_window_batch=32,
        recompute=augment,
        stream_tile=0,
        split=2,
        tile_labels="bag",
        learning_rate=rate,
        budget_examples=8,
        fold=-1,
        training_fraction=0.125,
        num_evaluations=1,
        stop_at_training_loss=rate / 1e3,
        augment=augment,
        intra_op_threads=1,
        num_workers=1,
        scored_split="test",
        seed=seed,
    )
    as_text = {name: str(value) for name, value in cell.to_params().items()}
    assert Cell.from_params(as_text) == cell


def test_purposes_and_seeds_draw_apart(make_cell):
    purposes = ("initialisation", "order")
    drawn = {make_cell(seed=s).seed_for(p) for s in range(50) for p in purposes}
    assert len(drawn) == 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget_examples": 81}, "multiple of global_batch_size 8, got 81; the nearest is 80"),
        ({"control": "information"}, "grid finer than the resolution"),
        ({"grid": 1.25}, "grid finer than the resolution"),
        ({"accumulation_steps": 3}, "must divide global_batch_size 8, got 3"),
        ({"num_workers": 3}, "must divide the 8 examples that are computed at once .* got 3"),
        ({"num_workers": 8, "accumulation_steps": 2}, "must divide the 4 examples"),
        ({"num_workers": 0}, "got 0"),
        ({"stream_tile": -1, "norm": "none"}, "number of voxels, or 0 .* got -1"),
        ({"stream_tile": 8}, "norm 'none', since no tile has the statistics of norm 'batch'"),
        ({"stream_tile": 8, "norm": "group"}, "statistics of norm 'group'; got tiles of 8 voxels"),
        ({"stop_at_training_loss": -0.1}, "0, for none, or a positive loss, got -0.1"),
        ({"split": 0}, "at least 1 tile an axis.* got 0"),
        ({"tile_labels": "bag", "norm": "none"}, "at least 2 for a bag or .*, got 1"),
        ({"tile_labels": "lesion"}, "at least 2 for a bag or for labels of lesions, got 1"),
        (
            {"tile_labels": "lesion", "split": 2, "control": "permuted"},
            "which tile_labels 'lesion' does not train on",
        ),
        ({"tile_labels": "bag", "split": 2}, "needs norm 'group' or 'none'.* got norm 'batch'"),
        ({"training_fraction": 0.0}, "above 0 and at most 1, got 0"),
        ({"training_fraction": 2.0}, "above 0 and at most 1, got 2"),
    ],
)
def test_what_cannot_be_a_cell_is_refused(make_cell, changes, message):
    with pytest.raises(StudyError, match=message):
        make_cell(**changes)


@pytest.mark.parametrize("field", ["seed", "grid"])
def test_params_of_another_version_are_refused(make_cell, field):
    params = make_cell().to_params()
    del params[field]
    with pytest.raises(StudyError, match="another version"):
        Cell.from_params(params)
