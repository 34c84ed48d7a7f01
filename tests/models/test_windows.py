"""What a layer reads, beside what TensorFlow's own windows are seen to read."""

import numpy as np
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlp_med.models.windows import Interval, Window


def seen_by_tensorflow(window: Window, size: int) -> np.ndarray:
    """The first and the last position inside the grid that each output sees: [output, 2]."""
    positions = np.arange(size, dtype=np.float32).reshape(1, 1, size, 1)
    padding = "SAME" if window.same else "VALID"
    last, first = (
        tf.nn.max_pool2d(sign * positions, (1, window.extent), (1, window.stride), padding) * sign
        for sign in (1, -1)
    )
    return np.stack([np.ravel(first), np.ravel(last)], axis=1).astype(int)


@settings(deadline=None, max_examples=200)
@given(
    extent=st.integers(1, 7),
    stride=st.integers(1, 4),
    same=st.booleans(),
    size=st.integers(1, 30),
    data=st.data(),
)
def test_a_window_reads_what_tensorflow_reads(extent, stride, same, size, data):
    # Where a stride passes over positions, TensorFlow's pooling differs from its convolutions.
    assume(extent >= stride)
    window = Window(extent, stride, same)
    count = window.output_size(size)
    assume(count > 0)
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    seen = seen_by_tensorflow(window, size)
    assert len(seen) == count
    read = window.read(Interval(start, stop), size)
    assert read.inside == (seen[start, 0], seen[stop - 1, 1] + 1)
    whole_windows = (stop - start - 1) * stride + extent
    assert read.before + read.inside.size + read.after == whole_windows
    assert read.before == 0 or read.inside.start == 0
    assert read.after == 0 or read.inside.stop == size


def test_no_window_fits_into_a_grid_that_is_smaller():
    assert Window(5, 1).output_size(4) < 1
    assert Window(5, 1, same=True).output_size(4) == 4
