"""What the air does to a pipeline's tensors: their format on the way, and their distortion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from bridge.compute import TorchThread
from bridge.formats import Wire
from bridge.payload import Ranges, pack, receive
from collapipe_ns3.schedule import Action
from collapipe_ns3.streams import number

#: Tensors that travel together.
Payload = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """A payload as it arrived, of known shapes, which the torch thread may still have to decode.

    `tensors` is called in the torch thread, by work that was asked for after the decoding.
    """

    shapes: tuple[torch.Size, ...]
    tensors: Callable[[], Payload]

    @classmethod
    def unchanged(cls, payload: Payload) -> Self:
        """A payload that arrives as it was sent."""
        return cls(tuple(tensor.shape for tensor in payload), lambda: payload)


@dataclass(slots=True)
class Air:
    """The wire format of activations and gradients in one step of one pipeline.

    `seed` and `name` draw the roundings of `int8`, each message's from a stream of its own, so
    that they don't depend on the order in which messages are sent. `distortions` collects ε of
    every message that was not handed on as it was; it is complete once the step has ended.
    """

    wire: Wire = "fp32"
    seed: int = 0
    name: tuple[int, ...] = ()
    distortions: list[float] = field(default_factory=list)

    def arrived(self, payload: Payload, lost: Ranges, send: Action, thread: TorchThread) -> Message:
        """What arrives of a payload whose byte ranges `lost` are missing.

        It is encoded and decoded in the torch thread, and nobody waits for that: a network that
        stood still meanwhile would be simulated in turns with torch instead of beside it.
        """
        if self.wire == "fp32" and not lost:
            return Message.unchanged(payload)

        def decoded() -> Payload:
            received = receive(pack(payload, self.wire, self._roundings(send, payload)), lost)
            self.distortions.append(received.distortion)
            return received.tensors

        return Message(tuple(tensor.shape for tensor in payload), thread.later(decoded).result)

    def _roundings(self, send: Action, payload: Payload) -> torch.Generator | None:
        """The generator for one message's roundings; None where the format needs none."""
        if self.wire != "int8":
            return None
        seed = number(self.seed, "roundings", *self.name, str(send))
        return torch.Generator(payload[0].device).manual_seed(seed)
