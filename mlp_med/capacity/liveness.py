"""Which tensors of a training step are alive together, from the built model's layers and shapes.

The step is walked through once, forward and backward, with a ledger of what is alive; nothing is
allocated. A tensor that two layers keep is one tensor.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import keras

from mlp_med.capacity.footprints import NORMS, Footprint, Tensor, footprint


@dataclass(frozen=True)
class LayerCall:
    """One layer of the network at one grid and batch.

    Attributes:
        layer: the built layer.
        input_ids: names of the tensors that go in.
        output_id: name of the one that comes out.
        inputs: their shapes.
        output: its shape.
    """

    layer: keras.layers.Layer
    input_ids: tuple[int, ...]
    output_id: int
    inputs: tuple[Tensor, ...]
    output: Tensor

    @property
    def footprint(self) -> Footprint:
        """What it keeps and needs."""
        return footprint(self.layer, list(self.inputs), self.output)


@dataclass(frozen=True)
class Peak:
    """What is alive when most is, in bytes.

    Attributes:
        kept_bytes: at the end of the forward pass, for the backward pass: the sum of what the
            layers keep.
        backward_bytes: what is alive at the peak above that: gradients of activations and scratch,
            less what has been given back by then. 0 at least.
    """

    kept_bytes: int
    backward_bytes: int

    @property
    def num_bytes(self) -> int:
        """The peak."""
        return self.kept_bytes + self.backward_bytes


def layer_calls(model: keras.Model, input_shape: tuple[int, ...]) -> list[LayerCall]:
    """The model's layers in the order of the forward pass, with the shapes that an input brings.

    Args:
        model: functional, of one input and one output.
        input_shape: [batch, *grid, channels].
    """
    shapes: dict[int, tuple[int, ...]] = {}
    calls = []
    for layer in model.operations:
        output = layer.output
        if isinstance(layer, keras.layers.InputLayer):
            shapes[id(output)] = input_shape
            continue
        sources = layer.input if isinstance(layer.input, list) else [layer.input]
        given = [shapes[id(source)] for source in sources]
        made = layer.compute_output_shape(given if len(given) > 1 else given[0])
        shapes[id(output)] = tuple(int(size) for size in made)
        # A layer casts what comes in to the dtype that it computes in.
        inputs = (Tensor(shape, layer.compute_dtype) for shape in given)
        calls.append(
            LayerCall(
                layer,
                tuple(id(source) for source in sources),
                id(output),
                tuple(inputs),
                Tensor(shapes[id(output)], output.dtype),
            )
        )
    return calls


def forward_peak(calls: list[LayerCall]) -> int:
    """Most bytes alive while predicting: nothing is kept but what a later layer takes in."""
    walk = _Walk(calls, training=False)
    return max(walk.forward(), default=0)


def training_peak(calls: list[LayerCall], *, recompute_norms: bool = False) -> Peak:
    """Most bytes alive in a training step.

    Args:
        calls: of the network at the workload's shapes.
        recompute_norms: as if every normalisation made its output again for the backward pass.
    """
    walk = _Walk(calls, training=True, recompute_norms=recompute_norms)
    highest = max(walk.forward(), default=0)
    kept = walk.alive_bytes()
    highest = max(highest, *walk.backward())
    return Peak(kept, max(0, highest - kept))


@dataclass
class _Walk:
    calls: list[LayerCall]
    training: bool
    recompute_norms: bool = False
    alive: dict[int, int] = field(default_factory=dict)  # bytes by tensor
    private_bytes: int = 0

    def __post_init__(self) -> None:
        self.footprints = [call.footprint for call in self.calls]
        if self.recompute_norms:
            self.footprints = [
                replace(needs, recomputes_output=True) if isinstance(call.layer, NORMS) else needs
                for call, needs in zip(self.calls, self.footprints, strict=True)
            ]
        self.sizes = {call.output_id: call.output.num_bytes for call in self.calls}
        self.made_by = {call.output_id: index for index, call in enumerate(self.calls)}
        first = self.calls[0]
        self.data_id = first.input_ids[0]
        self.sizes[self.data_id] = first.inputs[0].num_bytes

    def alive_bytes(self) -> int:
        return sum(self.alive.values()) + self.private_bytes

    def forward(self) -> Iterator[int]:
        """Bytes alive while each layer works."""
        consumers = Counter(source for call in self.calls for source in call.input_ids)
        kept = self._kept_ids() if self.training else set()
        self.alive[self.data_id] = self.sizes[self.data_id]
        for call, needs in zip(self.calls, self.footprints, strict=True):
            self.alive[call.output_id] = self.sizes[call.output_id]
            yield self.alive_bytes() + needs.forward_bytes
            if self.training:
                self.private_bytes += needs.kept_bytes
            for source in call.input_ids:
                consumers[source] -= 1
                if not consumers[source] and source not in kept:
                    self.alive.pop(source, None)
        if self.calls[-1].output_id not in kept:
            self.alive.pop(self.calls[-1].output_id)

    def backward(self) -> Iterator[int]:
        """Bytes alive while each layer's gradients are computed, the last layer first."""
        gradients: dict[int, int] = {self.calls[-1].output_id: 0}  # buffer by tensor
        buffers: dict[int, int] = {0: self.sizes[self.calls[-1].output_id]}
        waiting = self._backward_users()
        for index in reversed(range(len(self.calls))):
            call, needs = self.calls[index], self.footprints[index]
            remade = self._remake(call, needs)
            upstream = gradients.pop(call.output_id)
            sums = 0
            for source in call.input_ids:
                if source == self.data_id:
                    continue
                buffer = upstream if needs.passes_gradient else len(buffers)
                buffers.setdefault(buffer, self.sizes[source])
                if source in gradients and buffer != gradients[source]:
                    sums += self.sizes[source]  # both are there until they are added up
                else:
                    gradients[source] = buffer
            held = {upstream, *gradients.values()}
            yield (
                self.alive_bytes()
                + sum(buffers[buffer] for buffer in held)
                + sums
                + needs.backward_bytes
                + remade
            )
            self.private_bytes -= needs.kept_bytes
            self._give_back(index, waiting)

    def _kept_ids(self) -> set[int]:
        return set(self._backward_users())

    def _backward_users(self) -> dict[int, set[int]]:
        """Which layers' backward passes need a kept tensor."""
        users: dict[int, set[int]] = {}
        for index, (call, needs) in enumerate(zip(self.calls, self.footprints, strict=True)):
            wanted = list(call.input_ids) if needs.keeps_inputs else []
            if needs.keeps_output:
                wanted.append(call.output_id)
            for tensor in wanted:
                users.setdefault(tensor, set()).add(index)
        for tensor in list(users):
            maker = self.made_by.get(tensor)
            if maker is not None and self.footprints[maker].recomputes_output:
                del users[tensor]
        return users

    def _remake(self, call: LayerCall, needs: Footprint) -> int:
        """Bytes of the tensors that this layer's backward pass needs and that are made again."""
        wanted = [*(call.input_ids if needs.keeps_inputs else ())]
        if needs.keeps_output:
            wanted.append(call.output_id)
        return sum(
            self.sizes[tensor]
            for tensor in wanted
            if (maker := self.made_by.get(tensor)) is not None
            and self.footprints[maker].recomputes_output
        )

    def _give_back(self, index: int, waiting: dict[int, set[int]]) -> None:
        for tensor, users in waiting.items():
            users.discard(index)
            if not users:
                self.alive.pop(tensor, None)
