import resource
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.errors import TrainingError
from mlp_med.training.array_file import read_arrays, write_arrays

ARRAYS = {
    "weights/0": np.linspace(-1, 1, 7, dtype=np.float32).reshape(7, 1),
    "optimizer/0": np.array(2**40),
    "about": np.frombuffer(b'{"a": 1}', np.uint8),
}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_what_is_read_is_what_was_written_last_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "cell" / "checkpoint"
    write_arrays(path, {"weights/0": np.zeros(3)})
    write_arrays(path, ARRAYS)
    assert_same(read_arrays(path), ARRAYS)
    assert list(path.parent.iterdir()) == [path]


@given(place=st.integers(0, 2000), flip=st.integers(1, 255), cut=st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_other_byte_is_damage_and_is_never_parsed(tmp_path_factory, place, flip, cut):
    path = tmp_path_factory.getbasetemp() / "damaged"
    write_arrays(path, ARRAYS)
    content = bytearray(path.read_bytes())
    place %= len(content)
    content[place] ^= flip
    path.write_bytes(content[:place] if cut else content)
    with pytest.raises(TrainingError, match="it is damaged") as caught:
        read_arrays(path)
    assert caught.value.kind == "bad_checkpoint"


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "pickled"
    write_arrays(path, {"weights/0": np.array([{"an": "object"}], dtype=object)})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_arrays(path)["weights/0"]


def test_a_disk_that_is_full_leaves_the_last_file_and_no_other(tmp_path):
    """The kernel's own limit on the size of a file, which it reports as a full disk's write."""
    path = tmp_path / "checkpoint"
    write_arrays(path, ARRAYS)
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN  # as Python sets it
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, allowed[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_arrays(path, {"weights/0": np.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert_same(read_arrays(path), ARRAYS)
    assert list(tmp_path.iterdir()) == [path]
