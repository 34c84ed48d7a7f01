"""Which part of its input a layer needs for a part of its output; integers along one axis.

The receptive-field arithmetic of Araujo, Norris & Sim (2019, Computing Receptive Fields of
Convolutional Neural Networks, Distill, doi 10.23915/distill.00021), with the padding at either
border kept apart, since a tile has a border of the image on some sides alone.
"""

from collections.abc import Iterable
from typing import NamedTuple, Self


class Interval(NamedTuple):
    """Positions start … stop - 1 of a grid."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many they are."""
        return self.stop - self.start

    @classmethod
    def hull(cls, intervals: Iterable[Self]) -> Self:
        """The smallest interval that holds all of them."""
        starts, stops = zip(*intervals, strict=True)
        return cls(min(starts), max(stops))


class Read(NamedTuple):
    """What a layer reads for an interval of its output.

    Attributes:
        inside: positions of the input's grid.
        before: positions of padding that the layer sees ahead of them.
        after: positions of padding behind them.
    """

    inside: Interval
    before: int
    after: int


class Window(NamedTuple):
    """How a layer goes over an axis.

    Attributes:
        extent: positions from the first that an output sees to the last; dilation included.
        stride: positions between the windows of neighbouring outputs.
        same: whether the input is padded so that ⌈size / stride⌉ outputs come out (Keras' "same");
            else windows lie inside the grid ("valid").
    """

    extent: int = 1
    stride: int = 1
    same: bool = False

    def output_size(self, size: int) -> int:
        """Positions of the output's grid; below 1 where no window fits."""
        if self.same:
            return -(-size // self.stride)
        return (size - self.extent) // self.stride + 1

    def read(self, output: Interval, size: int) -> Read:
        """What is read for `output` of an input of `size` positions."""
        padding = 0
        if self.same:
            reach = (self.output_size(size) - 1) * self.stride + self.extent
            padding = max(reach - size, 0) // 2
        start = output.start * self.stride - padding
        stop = (output.stop - 1) * self.stride - padding + self.extent
        inside = Interval(max(start, 0), min(stop, size))
        return Read(inside, inside.start - start, stop - inside.stop)
