import json
from pathlib import Path

import pytest

from mlp_med.cli import records
from mlp_med.errors import StudyError


def test_a_record_gets_its_folder_and_is_whole(tmp_path):
    path = tmp_path / "new" / "record.json"
    records.check_place(path)
    assert not path.exists()
    records.keep(path, {"unit": "µm"})
    assert json.loads(path.read_text("utf-8")) == {"unit": "µm"}
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]


@pytest.mark.parametrize("place", ["a_file/record.json", "a_folder"])
def test_a_place_that_cannot_hold_a_record_is_refused_beforehand(tmp_path, place):
    (tmp_path / "a_file").write_text("in the way")
    (tmp_path / "a_folder").mkdir()
    for refuse in (records.check_place, lambda path: records.keep(path, {})):
        with pytest.raises(StudyError, match="cannot write the record"):
            refuse(tmp_path / place)


def test_a_record_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    records.keep(path, {"version": 1})

    def full(self, *_):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StudyError, match="No space left"):
        records.keep(path, {"version": 2})
    assert json.loads(path.read_text()) == {"version": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]
