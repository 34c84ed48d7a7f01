"""A record file that a disk has spoilt is never trained on: it is told, and how to mend it."""

import json
import shutil
from pathlib import Path

import pytest

from mlp_med.errors import DatasetError
from mlp_med.pipelines.arrays import load_split
from tests.faults import fault
from tests.tfds_builders.conftest import _make_source as make_source
from tfds_builders import luna16, open_config

RESOLUTION = 5.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A data directory that luna16 is built in."""
    root = tmp_path_factory.mktemp("whole")
    source = make_source(root / "source").root
    luna16.build(source, root / "data", resolutions=[RESOLUTION], num_workers=1)
    return root / "data"


@pytest.fixture
def built(whole, tmp_path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(whole, tmp_path / "data")
    return tmp_path / "data"


def shard(data: Path, split: str = "test") -> Path:
    (found,) = data.glob(f"luna16/5mm/*/luna16-{split}.tfrecord*")
    return found


def records(content: bytes) -> list[bytes]:
    """TFRecords as they are framed: length, its checksum, data, their checksum."""
    found, at = [], 0
    while at < len(content):
        end = at + 8 + 4 + int.from_bytes(content[at : at + 8], "little") + 4
        found.append(content[at:end])
        at = end
    return found


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


SPOILT = {
    "one bit": (flip, "is damaged"),
    "cut within a record": (lambda p: p.write_bytes(p.read_bytes()[:-7]), "is damaged"),
    "cut between records": (
        lambda p: p.write_bytes(b"".join(records(p.read_bytes())[:-1])),
        "expected to contain 14 elements but contained only 13",
    ),
    "a record twice": (
        lambda p: p.write_bytes(p.read_bytes() + records(p.read_bytes())[0]),
        "expected to contain 14 elements but contained at least 15",
    ),
    "gone": (Path.unlink, "is damaged"),
}


@pytest.mark.parametrize("what", SPOILT)
@fault(
    "corrupted record file",
    sees="an error that names the file, and what to do",
    lost="nothing but the file: no cell trains on it",
    goes_on="the dataset is built again, as it was",
)
def test_a_damaged_record_file_is_refused_and_built_again_as_it_was(what, built):
    spoil, message = SPOILT[what]
    before = load_split("luna16", built, RESOLUTION, "test")
    spoil(shard(built))
    with pytest.raises(DatasetError, match=message) as error:
        load_split("luna16", built, RESOLUTION, "test")
    folder = shard(built, "train").parent
    assert str(folder) in str(error.value)
    source = json.loads((folder / "metadata.json").read_text())["source"]
    shutil.rmtree(folder)  # as the message says
    luna16.build(Path(source), built, resolutions=[RESOLUTION], num_workers=1)
    again = load_split("luna16", built, RESOLUTION, "test")
    assert again.digest == before.digest
    assert (again.images == before.images).all()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"source": 1}', "[" * 100_000])
def test_damaged_metadata_are_refused(text, built):
    (shard(built).parent / "metadata.json").write_text(text)
    with pytest.raises(DatasetError, match=r"metadata\.json: .*build it again"):
        open_config("luna16", RESOLUTION, built)
