from mlp_med.ledger.read import CellRecord
from mlp_med.reports.recipe import recipe
from tests.reports.synthetic import cell_of


def cells(*changes):
    return [
        CellRecord("", "", "", "", "done", {**cell_of("1.25mm", 0), **change}, {}, {})
        for change in changes
    ]


def test_what_all_cells_share_is_said_once():
    words = recipe(cells({}, {"seed": 1}))
    assert "batches of 16" in words
    assert words.count("float32") == 1
    assert "turned" in words
    assert "without augmentation" not in words


def test_training_without_augmentation_is_said_with_what_that_leaves_open():
    assert "may differ otherwise" in recipe(cells({"augment": False}))
    assert "some arms" in recipe(cells({"augment": False}, {}))


def test_what_cells_differ_in_is_said_of_all():
    words = recipe(cells({"global_batch_size": 2}, {"global_batch_size": 32}, {"norm": "none"}))
    assert "batches of 2 or 16 or 32" in words
    assert "batch or none normalisation" in words


def test_no_cell_has_no_recipe():
    assert recipe([]) == ""
