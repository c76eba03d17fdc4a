"""The wire format of a pipeline's tensors, and how much the air distorts them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import torch

from bridge.compute import TorchThread
from bridge.formats import Wire
from bridge.payload import Ranges, pack, receive
from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.random_streams import number
from collapipe_ns3.schedule import Action


@dataclass(frozen=True, slots=True)
class Message:
    """A payload whose tensors torch may still be computing or decoding.

    `tensors` is called in the torch thread, by work that was queued after theirs.
    """

    tensors: Callable[[], Payload]

    @classmethod
    def of(cls, payload: Payload) -> Self:
        """A payload whose tensors have been computed."""
        return cls(lambda: payload)


@dataclass(slots=True)
class Air:
    """Encodes and decodes the activations and gradients of one step of one pipeline.

    `seed` and `name` determine the roundings of `int8`. Every message has a random stream of its
    own, so that they don't depend on the order in which messages are sent. `distortions` collects
    the ε of every message that did not arrive unchanged; it is complete once the step has ended.
    """

    wire: Wire = "fp32"
    seed: int = 0
    name: tuple[int, ...] = ()
    distortions: list[float] = field(default_factory=list)

    def arrived(self, sent: Message, lost: Ranges, send: Action, thread: TorchThread) -> Message:
        """What the receiver decodes from a message of which the byte ranges `lost` are missing.

        Encoding and decoding are queued in the torch thread without waiting for them, so that the
        network is simulated at the same time.
        """
        if self.wire == "fp32" and not lost:
            return sent

        def decoded() -> Payload:
            payload = sent.tensors()
            received = receive(pack(payload, self.wire, self._roundings(send, payload)), lost)
            self.distortions.append(received.distortion)
            return received.tensors

        return Message(thread.later(decoded).result)

    def _roundings(self, send: Action, payload: Payload) -> torch.Generator | None:
        """The random generator for a message's roundings; None if the format has none."""
        if self.wire != "int8":
            return None
        seed = number(self.seed, "roundings", *self.name, str(send))
        return torch.Generator(payload[0].device).manual_seed(seed)
