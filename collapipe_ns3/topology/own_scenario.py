"""A network of the user's own: a function in the user's package that builds it, named by a study.

The function is called with the `ScenarioSpec` that the study describes, in a fresh simulation, and
hands back what fulfils `bridge.network.Network` with the nodes of that name. See
docs/own-scenario.md.
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
from bridge.network import Network
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
    """A scenario function that can't be found; the message says what was looked for."""


class ScenarioFailed(PluginFailed):
    """A scenario's own code raised, built no network, or had ns-3 end the process."""


@dataclass(frozen=True, slots=True)
class OwnScenario:
    """A user's function by its name (`package.module:function`), and its keywords."""

    name: str
    settings: Mapping[str, Any]

    def build(self, spec: ScenarioSpec, *, tried: bool = False) -> Network:
        """The network in a fresh simulation.

        Unless `tried`, a copy of the process first builds it and sends a little over every link
        that a round may use. Whatever a call of the network raises later is `ScenarioFailed` too.

        Raises `BadScenario`, and `ScenarioFailed` where the function raises, hands back something
        else, or ns-3 ends the process.
        """
        function = find(self.name)
        runtime.native()  # before a copy is made: loading it takes time
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


#: How to take what a call hands back, so that a wrong type is found there and then.
_READ: dict[str, Callable[[Any], object]] = {
    "link_state": lambda states: tuple(map(MeasuredLink.of, states)),
    "usage": dict,
}


class _Guarded:
    """The calls of a user's network; what they raise is `ScenarioFailed`.

    `ValueError` stays what it is: it is how a network refuses a transfer or a grant.
    """

    def __init__(self, network: Network, name: str) -> None:
        self._network, self._name = network, name
        for call in CALLS:
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
            try:  # not `with`, which costs more than the call
                return read(call(*arguments, **named))
            except ValueError:
                raise
            except RAISED as error:
                raise _failed(self._name, error) from error

        return guarded


def find(name: str) -> Callable[..., Any]:
    """The function of this name; modules in the working directory are found too.

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
    """Modules in the working directory are found, before all others."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def round_pairs(spec: ScenarioSpec) -> list[tuple[str, str]]:
    """The links that a round may use: within clusters, and with the base station, both ways."""
    nodes = [[node.name for node in cluster.nodes] for cluster in spec.clusters]
    within = [pair for names in nodes for pair in permutations(names, 2)]
    station, controls = spec.bs.name, [cluster.cu.name for cluster in spec.clusters]
    return within + [pair for cu in controls for pair in ((cu, station), (station, cu))]


def _carry(network: Network, spec: ScenarioSpec) -> None:
    """Sends a little over every link that a round may use."""

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
    """Turns what a scenario's code raises into `ScenarioFailed`."""
    try:
        yield
    except RAISED as error:
        raise _failed(name, error) from error


def _failed(name: str, error: BaseException) -> ScenarioFailed:
    """The error in words; what ns-3 said is told without the place in this project's code."""
    ours = isinstance(error, SimulationError | ScenarioFailed)
    return ScenarioFailed(f"scenario {name}: {error if ours else described(error)}")
