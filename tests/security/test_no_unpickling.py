"""A pickle runs what its author likes when it is read, so none is read from disk or ledger."""

import ast
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from mlp_med.errors import DatasetError, EvidenceError, LedgerError, MlpMedError
from mlp_med.evidence.foreign import read_predictions as read_foreign
from mlp_med.imaging.formats import read_image_header
from mlp_med.json_records import read_json_object
from mlp_med.ledger.predictions import read_predictions
from tfds_builders.crop_files import open_crops

ROOT = Path(__file__).parents[2]
PACKAGES = ("mlp_med", "tfds_builders", "experiments")
EXECUTING = ("dill", "cloudpickle", "joblib", "shelve", "marshal", "torch", "yaml", "jsonpickle")
# Jobs travel to Beam's workers as Beam's own messages do; that no file holds one is tested below.
MESSAGES = Path("tfds_builders/beam_jobs.py")
CALLS = ("eval", "exec", "read_pickle", "to_pickle", "load_model", "load_context", "load_weights")


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_could_unpickle(path):
    tree = ast.parse(path.read_text())
    found = imported(tree) & {"pickle", *EXECUTING}
    assert found <= ({"pickle"} if path.relative_to(ROOT) == MESSAGES else set())
    for node in calls(tree):
        assert called(node) not in CALLS
        allowed = [word.value for word in node.keywords if word.arg == "allow_pickle"]
        assert [ast.unparse(value) for value in allowed] in ([], ["False"])
        if ast.unparse(node.func) == "np.load":
            assert allowed, "its default may change, and a reader should not have to know it"


def test_what_travels_as_a_pickle_never_lies_on_disk():
    tree = ast.parse((ROOT / MESSAGES).read_text())
    loads = [ast.unparse(node) for node in calls(tree) if ast.unparse(node.func) == "pickle.loads"]
    assert loads == ["pickle.loads(work)"]  # of the message that the runner hands over


class Bomb:
    """Makes the folder that it is told when it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture
def bomb(tmp_path):
    folder = tmp_path / "executed"
    content = pickle.dumps(Bomb(folder))
    pickle.loads(content)
    assert folder.is_dir(), "the bomb is a dud"
    folder.rmdir()
    yield content
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "read", "kind"),
    [
        ("a.parquet", lambda path: read_foreign(path, "a"), EvidenceError),
        ("a.csv", lambda path: read_foreign(path, "a"), EvidenceError),
        ("a.pkl", lambda path: read_foreign(path, "a"), EvidenceError),
        ("predictions.parquet", lambda path: read_predictions(path, "run", None), LedgerError),
        ("study.json", lambda path: read_json_object(path, LedgerError, "mend it"), LedgerError),
        ("crops.npy", open_crops, DatasetError),
        ("scan.mha", read_image_header, MlpMedError),
    ],
)
def test_a_pickle_in_place_of_a_file_is_refused_unread(bomb, tmp_path, name, read, kind):
    (tmp_path / name).write_bytes(bomb)
    with pytest.raises(kind):
        read(tmp_path / name)


def test_an_array_of_objects_is_refused_unread(tmp_path):
    folder = tmp_path / "executed"
    np.save(tmp_path / "crops.npy", np.array([Bomb(folder)], dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match="is no crop file"):
        open_crops(tmp_path / "crops.npy")
    assert not folder.exists()
