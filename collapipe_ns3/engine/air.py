"""What the air does to a pipeline's tensors: their format on the way, and how far they come off."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from bridge.formats import Wire
from collapipe_ns3.engine.schedule import Action
from collapipe_ns3.streams import number


@dataclass(slots=True)
class Air:
    """The wire format of activations and gradients in one step of one pipeline.

    `seed` and `name` draw the roundings of `int8`, each message's from a stream of its own, so
    that they don't depend on the order in which messages are sent. `distortions` collects ε of
    every message that was not handed on as it was.
    """

    wire: Wire = "fp32"
    seed: int = 0
    name: tuple[int, ...] = ()
    distortions: list[float] = field(default_factory=list)

    def roundings(self, send: Action, device: torch.device) -> torch.Generator | None:
        """The generator for one message's roundings; None where the format needs none."""
        if self.wire != "int8":
            return None
        seed = number(self.seed, "roundings", *self.name, str(send))
        return torch.Generator(device).manual_seed(seed)
