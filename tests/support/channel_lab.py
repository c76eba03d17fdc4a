"""A channel alone, between nodes that can be put anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ns3_scenarios import runtime
from ns3_scenarios.channel import Channel
from ns3_scenarios.propagation import add_channel

Point = tuple[float, float, float]


@dataclass
class ChannelLab:
    """One channel in an episode of its own, with nodes named as given."""

    channel: Channel
    names: Sequence[str] = ("bs", "c0.cu")
    carrier_hz: float = 2.1e9
    run: int = 1
    lasting_run: int = 1
    name: str = "d2e"
    episode: Any = field(init=False)

    def __post_init__(self) -> None:
        runtime.reset(1, self.run)
        self.episode = runtime.native().Episode(0, self.lasting_run)
        self.numbers = {
            name: self.episode.AddNode(name, float(10 * n), 0.0, 1.5)
            for n, name in enumerate(self.names)
        }
        number = add_channel(self.episode, self.name, self.channel, self.carrier_hz)
        self.native = self.episode.Channel(number)
        self._vector = runtime.load().Vector

    def gain_db(self, a: str, b: str) -> float:
        """The gain where the nodes are."""
        places = [self.episode.Place(self.numbers[name]) for name in (a, b)]
        return float(self.native.GainDb(*places))

    def in_sight(self, a: str, b: str) -> bool:
        """Whether the nodes see each other."""
        places = [self.episode.Place(self.numbers[name]) for name in (a, b)]
        return bool(self.native.InSight(*places))

    def put(self, name: str, *at: float) -> None:
        """Moves a node; a little later, as nothing moves in no time."""
        self.episode.Place(self.numbers[name]).SetPosition(self._vector(*at))
        self.episode.Advance(self.episode.Now() + 2)

    def gain_between_db(self, first: Point, second: Point) -> float:
        """The gain between the first two nodes at these places."""
        a, b = self.names[:2]
        self.put(a, *first)
        self.put(b, *second)
        return self.gain_db(a, b)

    def close(self) -> None:
        """Ends the simulation."""
        self.native = None
        self.episode.__destruct__()
        runtime.load().Simulator.Destroy()
