"""Schemes: what decides, from what was measured and nothing else, how a round is run.

A scheme is a class found by the entry point group `collapipe_ns3.schemes`, so that a user's own
needs no change here. Its constructor takes the study's scheme settings as keywords.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, create_model

from collapipe_ns3.devices import DeviceProfile
from collapipe_ns3.models.spec import ModelSpec
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.plan import RoundPlan

GROUP = "collapipe_ns3.schemes"


class MeasuredLink(Protocol):
    """What was measured on a directed link, linear and SI; see `bridge.network.LinkState`."""

    @property
    def src(self) -> str: ...
    @property
    def dst(self) -> str: ...
    @property
    def gain(self) -> float: ...
    @property
    def interference_w_hz(self) -> float: ...
    @property
    def sinr(self) -> float: ...
    @property
    def goodput_bps(self) -> float: ...
    @property
    def loss(self) -> float: ...
    @property
    def age_s(self) -> float: ...
    @property
    def tx_power_w(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Medium:
    """A band that directed links have in common, and how a plan may divide it.

    With `grants` every link that is used needs a bandwidth of its own, all together at most
    `bandwidth_hz`; without, whoever sends takes the whole band. A `shared` medium carries one
    transfer at a time, in effect: all its links take turns. A `half_duplex` one has nodes that
    send or receive, never both at once.
    """

    name: str
    links: frozenset[tuple[str, str]]
    bandwidth_hz: float
    grants: bool = False
    shared: bool = False
    half_duplex: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a scheme is given: who there is, what is trained, and what was measured.

    `devices` lists each cluster's device names in the study's order; `profiles` has every node,
    control units and the base station included; `links` is empty before anything was sent.
    `shares` are the clusters' parts of the training data, equal where it is empty; the lengths are
    what batches are usually padded to, in tokens, None for the task's longest. `media` says what
    the radios are; a link in none of them is taken to have a channel of its own.
    """

    devices: tuple[tuple[str, ...], ...]
    profiles: Mapping[str, DeviceProfile]
    model: ModelSpec
    batch_size: int
    local_steps: int
    optimizer: str
    links: Sequence[MeasuredLink] = ()
    shares: tuple[float, ...] = ()
    source_length: int | None = None
    target_length: int | None = None
    media: tuple[Medium, ...] = ()


class Sent(Protocol):
    """A transfer that ended; see `bridge.network.Delivery`."""

    @property
    def src(self) -> str: ...
    @property
    def dst(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...
    @property
    def outcome(self) -> str: ...
    @property
    def lost(self) -> Sequence[tuple[int, int]]: ...
    @property
    def airtime_s(self) -> float: ...
    @property
    def bandwidth_hz(self) -> float: ...
    @property
    def sinr(self) -> float: ...


class Computed(Protocol):
    """A computation that ended; see `collapipe_ns3.engine.outcome.Computation`."""

    @property
    def node(self) -> str: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...
    @property
    def flops(self) -> float: ...


class Outcome(Protocol):
    """What a scheme may learn from after its plan was executed."""

    @property
    def duration_ns(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def energy_j(self) -> Mapping[str, float]:
        """Energy of each node in the round, computation and radio."""
        ...

    @property
    def deliveries(self) -> Sequence[Sent]: ...
    @property
    def computations(self) -> Sequence[Computed]: ...


class Scheme(Protocol):
    """Plans each round, and learns from how the last one went."""

    def plan(self, round: int, observation: Observation) -> RoundPlan: ...
    def learn(self, outcome: Outcome) -> None: ...


@runtime_checkable
class Remembering(Protocol):
    """What a scheme has beside that learns: its memory, as plain data for the checkpoint."""

    def memory(self) -> dict[str, Any]: ...
    def remember(self, memory: Mapping[str, Any]) -> None: ...


class UnknownScheme(ValueError):
    """No scheme of this name is installed; the message names the nearest."""


def names() -> list[str]:
    """The names of all installed schemes, sorted."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def factory(name: str) -> Callable[..., Scheme]:
    """The class of an installed scheme; raises `UnknownScheme`."""
    for point in entry_points(group=GROUP):
        if point.name == name:
            found: Callable[..., Scheme] = point.load()
            return found
    raise UnknownScheme(f"no scheme {name!r}; {did_you_mean(name, names())}")


def make(name: str, settings: Mapping[str, Any]) -> Scheme:
    """A scheme with these settings, checked against the types of its constructor.

    Raises `UnknownScheme`, and pydantic's `ValidationError` for settings it can't take.
    """
    checked = settings_model(name).model_validate(dict(settings))
    return factory(name)(**{key: getattr(checked, key) for key in settings})


def settings_model(name: str) -> type[BaseModel]:
    """The settings that a scheme takes, as its constructor's parameters have them."""
    parameters = inspect.signature(factory(name), eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        each.name: (
            Any if each.annotation is each.empty else each.annotation,
            ... if each.default is each.empty else each.default,
        )
        for each in parameters
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
    return create_model(f"{name}_settings", __config__=config, **fields)
