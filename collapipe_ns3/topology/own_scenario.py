"""A network of the user's own, built by a function of the user's that a study names.

The function is called with the `ScenarioSpec` that the study describes, in a new simulation, and
returns a `bridge.network.Network` with nodes of the same names. See docs/own-scenario.md.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, cast

from bridge import loop as simulated
from bridge.network import Multicast, Network, Placed, Position
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.observed import MeasuredLink
from collapipe_ns3.plugins import RAISED, PluginFailed, described
from ns3_scenarios import runtime
from ns3_scenarios.network import TCP_DEFAULTS
from ns3_scenarios.runtime import SimulationError
from ns3_scenarios.scenario import ScenarioSpec

_TRIAL_BYTES = 1000

#: The calls of `bridge.network.Network`.
CALLS = tuple(name for name in dir(Network) if not name.startswith("_"))


class BadScenario(ValueError):
    """A scenario function that can't be found; the message says where it was searched."""


class ScenarioFailed(PluginFailed):
    """The user's code raised an exception, returned no network, or made ns-3 end the process."""


@dataclass(frozen=True, slots=True)
class OwnScenario:
    """The name of a user's function (`package.module:function`), and its keyword arguments."""

    name: str
    settings: Mapping[str, Any]

    def build(self, spec: ScenarioSpec, *, tried: bool = False) -> Network:
        """The network in a new simulation.

        Unless `tried`, a copy of the process first builds it and sends a few bytes over every link
        that a round may use. Later, exceptions in calls of the network become `ScenarioFailed` too.

        Raises `BadScenario`, and `ScenarioFailed` if the function raises, returns something else,
        or ns-3 ends the process.
        """
        function = find(self.name)
        runtime.native()  # before the process is copied, as loading takes time
        if not tried:
            try:
                runtime.rehearse(
                    lambda: _carry(self._built(function, spec), spec), "being tried out"
                )
            except SimulationError as error:
                what = str(error).replace(f"scenario {self.name}: ", "")
                raise ScenarioFailed(f"scenario {self.name}, {what}") from None
        return self._built(function, spec)

    def _built(self, function: Callable[..., Any], spec: ScenarioSpec) -> Network:
        runtime.reset(spec.seed, spec.run)
        for path, value in {**TCP_DEFAULTS, **spec.ns3_defaults}.items():
            runtime.set_default(path, value)
        with failing_as(self.name):
            network = function(spec, **self.settings)
            lacking = [name for name in CALLS if not hasattr(network, name)]
        if lacking:
            raise ScenarioFailed(
                f"scenario {self.name}: expected a Network, not {type(network).__name__}, which "
                f"has no {', '.join(lacking)}"
            )
        return cast("Network", _Guarded(network, self.name))


#: Conversions of returned values, by which wrong types are found immediately.
_READ: dict[str, Callable[[Any], object]] = {
    "link_state": lambda states: tuple(map(MeasuredLink.of, states)),
    "usage": dict,
    "positions": lambda places: {name: _position(place) for name, place in places.items()},
}


def _position(place: Any) -> Position:
    x, y, z = map(float, place)
    return (x, y, z)


class _Guarded:
    """A user's network, whose exceptions become `ScenarioFailed`.

    `ValueError` is passed on, as a network refuses transfers and grants with it.
    """

    def __init__(self, network: Network, name: str) -> None:
        self._network, self._name = network, name
        more = ["positions"] if isinstance(network, Placed) else []
        more += ["multicast"] if isinstance(network, Multicast) else []
        for call in (*CALLS, *more):
            if call != "deliveries":
                read = _READ.get(call, lambda value: value)
                setattr(self, call, self._guarded(getattr(network, call), read))

    @property
    def deliveries(self) -> Any:
        with failing_as(self._name):
            return self._network.deliveries

    def _guarded(
        self, call: Callable[..., Any], read: Callable[[Any], object]
    ) -> Callable[..., Any]:
        @functools.wraps(call)
        def guarded(*arguments: Any, **named: Any) -> Any:
            try:  # not `with`, which takes longer than the call
                return read(call(*arguments, **named))
            except ValueError:
                raise
            except RAISED as error:
                raise _failed(self._name, error) from error

        return guarded


def find(name: str) -> Callable[..., Any]:
    """The function of this name, from installed modules or the working directory.

    Raises `BadScenario`.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise BadScenario(f"expected module:function, not {name!r}")
    try:
        with working_directory_first():
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.startswith(error.name):
            there = "neither installed nor in the working directory"
            raise BadScenario(f"no module {error.name!r}: it is {there}") from None
        raise BadScenario(f"{module_name} needs {error.name!r}, which isn't installed") from None
    except RAISED as error:
        raise BadScenario(f"{module_name} can't be imported: {described(error)}") from None
    function: Callable[..., Any] | None = getattr(module, attribute, None)
    if function is None or not callable(function):
        defined = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module_name
        ]
        what = f"no function {attribute!r} in {module_name}"
        raise BadScenario(f"{what}; {did_you_mean(attribute, defined)}")
    return function


@contextmanager
def working_directory_first() -> Iterator[None]:
    """Has modules in the working directory found, before all others."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def round_pairs(spec: ScenarioSpec) -> list[tuple[str, str]]:
    """The links that a round may use, in both directions: in clusters and to the base station."""
    nodes = [[node.name for node in cluster.nodes] for cluster in spec.clusters]
    within = [pair for names in nodes for pair in permutations(names, 2)]
    station, controls = spec.bs.name, [cluster.cu.name for cluster in spec.clusters]
    return within + [pair for cu in controls for pair in ((cu, station), (station, cu))]


def _carry(network: Network, spec: ScenarioSpec) -> None:
    """Sends a few bytes over every link that a round may use."""

    async def carried() -> None:
        pairs = round_pairs(spec)
        await asyncio.gather(*(network.transfer(src, dst, _TRIAL_BYTES) for src, dst in pairs))

    simulated.run(network, carried())
    if failed := [each for each in network.deliveries if each.outcome != "delivered"]:
        first = failed[0]
        raise SimulationError(
            f"of {first.size_bytes} bytes from {first.src} to {first.dst} nothing came through "
            f"({first.outcome})"
        )


@contextmanager
def failing_as(name: str) -> Iterator[None]:
    """Turns exceptions of the user's code into `ScenarioFailed`."""
    try:
        yield
    except RAISED as error:
        raise _failed(name, error) from error


def _failed(name: str, error: BaseException) -> ScenarioFailed:
    """The error with a message; errors of ns-3 are quoted without their place in this code."""
    ours = isinstance(error, SimulationError | ScenarioFailed)
    return ScenarioFailed(f"scenario {name}: {error if ours else described(error)}")
