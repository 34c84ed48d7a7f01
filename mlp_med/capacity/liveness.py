"""Which tensors of a training step are alive together, from the built model's layers and shapes.

The step is walked through once, forward and backward, with a ledger of what is alive; nothing is
allocated. A tensor that two layers keep is one tensor.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mlp_med.capacity.footprints import Footprint, footprint
from mlp_med.capacity.network import LayerCall, tile_calls
from mlp_med.models.streaming import StreamedStages


@dataclass(frozen=True)
class Peak:
    """What is alive when most is, in bytes.

    Attributes:
        kept_bytes: at the end of the forward pass, for the backward pass: the sum of what the
            layers keep.
        backward_bytes: what is alive at the peak above that: gradients of activations, scratch and
            what is computed again, less what has been given back by then. 0 at least.
    """

    kept_bytes: int
    backward_bytes: int

    @property
    def num_bytes(self) -> int:
        """The peak."""
        return self.kept_bytes + self.backward_bytes


def forward_peak(calls: Sequence[LayerCall]) -> int:
    """Most bytes alive while predicting: nothing is kept but what a later layer takes in."""
    return max(_Walk(calls, training=False).forward(), default=0)


def training_peak(calls: Sequence[LayerCall]) -> Peak:
    """Most bytes alive in a training step."""
    walk = _Walk(calls, training=True)
    highest = max(walk.forward(), default=0)
    kept = walk.alive_bytes()
    highest = max(highest, *walk.backward())
    return Peak(kept, max(0, highest - kept))


def needs_of(call: LayerCall) -> Footprint:
    """What a layer keeps and needs; streamed stages keep nothing and need what one tile does."""
    if not isinstance(call.layer, StreamedStages):
        return footprint(call.layer, list(call.inputs), call.output)
    _, tile = tile_calls(call)
    return Footprint(
        keeps_inputs=True,
        forward_bytes=forward_peak(tile),
        backward_bytes=training_peak(tile).num_bytes,
    )


@dataclass
class _Walk:
    calls: Sequence[LayerCall]
    training: bool
    alive: dict[str, int] = field(default_factory=dict)  # bytes by tensor
    private_bytes: int = 0

    def __post_init__(self) -> None:
        self.footprints = [needs_of(call) for call in self.calls]
        self.sizes = {call.output_name: call.output.num_bytes for call in self.calls}
        self.data = self.calls[0].input_names[0]
        self.sizes[self.data] = self.calls[0].inputs[0].num_bytes
        self.recomputed = {call.output_name for call in self.calls if call.recomputed_in}
        self.consumers = Counter(source for call in self.calls for source in call.input_names)

    def alive_bytes(self) -> int:
        return sum(self.alive.values()) + self.private_bytes

    def forward(self) -> Iterator[int]:
        """Bytes alive while each layer works."""
        consumers = self.consumers.copy()
        kept = set(self._backward_users()) - self.recomputed if self.training else set()
        last = self.calls[-1].output_name
        self.alive[self.data] = self.sizes[self.data]
        for call, needs in zip(self.calls, self.footprints, strict=True):
            self.alive[call.output_name] = self.sizes[call.output_name]
            yield self.alive_bytes() + needs.forward_bytes
            if self.training:
                self.private_bytes += needs.kept_bytes
            for source in call.input_names:
                consumers[source] -= 1
                if not consumers[source] and source not in kept:
                    self.alive.pop(source, None)
        if last not in kept:
            self.alive.pop(last)

    def backward(self) -> Iterator[int]:
        """Bytes alive while each layer's gradients are computed, the last layer first."""
        last = self.calls[-1].output_name
        gradients = {last: 0}  # buffer by tensor
        buffers = {0: self.sizes[last]}
        users = self._backward_users()
        waiting: set[int] = set()  # buffers that put-off gradients of weights are computed from
        for index in reversed(range(len(self.calls))):
            call, needs = self.calls[index], self.footprints[index]
            self._compute_again(call, users)
            upstream = gradients.pop(call.output_name)
            sums = 0
            for source in call.input_names:
                if source == self.data:
                    continue
                buffer = upstream if needs.passes_gradient else len(buffers)
                buffers.setdefault(buffer, self.sizes[source])
                if source in gradients and buffer != gradients[source]:
                    # Both are there until they are added up; the upstream one is anyhow.
                    sums += 0 if buffer == upstream else self.sizes[source]
                else:
                    gradients[source] = buffer
            waits = self._weights_wait(call, needs) and (
                upstream in waiting or self._is_shared(upstream, gradients)
            )
            if waits:
                waiting.add(upstream)
            held = sum(buffers[buffer] for buffer in {upstream, *gradients.values(), *waiting})
            yield self.alive_bytes() + held + sums + needs.backward_bytes
            self.private_bytes -= needs.kept_bytes
            if not waits:
                self._give_back(index, users)

    def _weights_wait(self, call: LayerCall, needs: Footprint) -> bool:
        """Whether the weights' gradient may be put off; what recomputes waits for it."""
        return needs.may_wait and not self.recomputed.intersection(call.input_names)

    def _is_shared(self, buffer: int, gradients: dict[str, int]) -> bool:
        """Whether this gradient is also that of another convolution's output, and of no sum."""
        return any(
            gradients.get(call.output_name) == buffer
            and self.consumers[call.output_name] == 1
            and self._weights_wait(call, needs)
            for call, needs in zip(self.calls, self.footprints, strict=True)
        )

    def _backward_users(self) -> dict[str, set[int]]:
        """By tensor, the layers whose backward passes need it."""
        users: dict[str, set[int]] = {}
        for index, (call, needs) in enumerate(zip(self.calls, self.footprints, strict=True)):
            for tensor in _needed(call, needs):
                users.setdefault(tensor, set()).add(index)
        return users

    def _compute_again(self, call: LayerCall, users: dict[str, set[int]]) -> None:
        """What leads to a recomputed input, and is needed, is there again once that is."""
        for source in call.input_names:
            if source not in self.recomputed or source in self.alive:
                continue
            (maker,) = [made for made in self.calls if made.output_name == source]
            for made in self.calls:
                if made.recomputed_in == maker.recomputed_in and users.get(made.output_name):
                    self.alive[made.output_name] = self.sizes[made.output_name]

    def _give_back(self, index: int, users: dict[str, set[int]]) -> None:
        for tensor, waiting in users.items():
            waiting.discard(index)
            if not waiting:
                self.alive.pop(tensor, None)


def _needed(call: LayerCall, needs: Footprint) -> list[str]:
    """Tensors that the layer's backward pass needs."""
    inputs = [call.places or name for name in call.input_names] if needs.keeps_inputs else []
    return [*inputs, call.output_name] if needs.keeps_output else inputs
