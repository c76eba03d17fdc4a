"""A scheme is given what was measured: no position, path loss or simulator is within its reach."""

from __future__ import annotations

import importlib.util
import types
from collections.abc import Iterator, Mapping
from numbers import Number
from pathlib import Path
from typing import Any

import pytest
import studies

from bridge.network import TransferKind
from collapipe_ns3 import Study, schemes
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.observed import Observation
from collapipe_ns3.schemes.pipeline import PipeLine
from collapipe_ns3.topology import layout

#: What may come from these rooms: rows of what was measured, and formats of numbers.
MEASURED = {"ns3_scenarios.readings", "bridge.formats"}
#: Modules whose objects would lead on into a simulation.
CLOSED = (
    "ns3_scenarios",
    "cppyy",
    "bridge",
    "collapipe_ns3.topology",
    "collapipe_ns3.config",
)
#: Words that name a simulator's secret wherever they stand.
SECRET = ("position", "mobility", "propagation", "path_loss", "pathloss", "episode", "scenario")


def reached(given: Any, via: str) -> Iterator[tuple[str, Any]]:
    """Every object that can be had from this one by attributes, items and closures, with its way.

    What a module holds is everybody's, and not followed: who imports can import anything.
    """
    seen: dict[int, Any] = {}
    waiting = [(via, given)]
    while waiting:
        way, value = waiting.pop()
        if id(value) in seen or isinstance(value, type | types.ModuleType):
            continue
        seen[id(value)] = value  # kept, so that no other object gets its id
        yield way, value
        if isinstance(value, str | bytes | Number | None):
            continue
        waiting += [(f"{way}.{name}", inner) for name, inner in attributes(value)]
        if isinstance(value, Mapping):
            waiting += [(f"{way}[{key!r}]", inner) for key, inner in value.items()]
            waiting += [(f"{way}.keys", key) for key in value]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += [(f"{way}[{n}]", inner) for n, inner in enumerate(value)]


def attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """What an object holds: its dictionary, slots, bound object, closure and defaults."""
    names = list(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
        names += [name for name, each in vars(kind).items() if isinstance(each, property)]
    for name in [*dict.fromkeys(names), "__self__", "__func__", "__wrapped__", "gi_frame"]:
        try:
            yield name, getattr(value, name)
        except (AttributeError, TypeError):
            continue
    for cell in getattr(value, "__closure__", None) or ():
        try:
            yield "closure", cell.cell_contents
        except ValueError:  # empty
            continue
    yield from (("default", each) for each in getattr(value, "__defaults__", None) or ())


class Spy(PipeLine):
    """Keeps all that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[str, Any]] = []

    def plan(self, round: int, observation: Observation) -> Any:
        self.given.append((f"observation {round}", observation))
        return super().plan(round, observation)

    def sounding(self, observation: Observation) -> tuple[tuple[str, str], ...]:
        """For runs that ask a scheme which links to measure."""
        self.given.append(("observation for sounding", observation))
        return (("c0.cu", "bs"),)

    def learn(self, outcome: Any) -> None:
        self.given.append(("outcome", outcome))


def given_to(config: StudyConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Spy:
    spy = Spy()
    monkeypatch.setattr(schemes, "make", lambda name, settings: spy)
    Study(config).run(out=folder / "run")
    return spy


@pytest.mark.parametrize("stacks", [("ofdma", "ofdma"), ("wifi", "lte")])
def test_no_scheme_reaches_a_position_or_a_loss(
    stacks: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Places that no other number happens to be.
    cu = {"cu": "jetson-nano", "position": [20.1234567, 10.7654321], "motion": {"radius_m": 7}}
    channel = {"attributes": {"Exponent": 2.9876543}, "fading": "rayleigh"}
    config = studies.config(
        clusters=[{**cu, "devices": studies.TINY["clusters"][0]["devices"]}],
        radio=dict(zip(("d2d", "d2e"), stacks, strict=True)),
        propagation={"d2d": channel, "d2e": channel},
    )
    spec = layout.scenario(config, config.seed, 0)
    secrets = {2.9876543, *(x for node in spec.nodes for x in node.position[:2] if x)}
    spy = given_to(config, tmp_path, monkeypatch)
    assert {via.split()[0] for via, _ in spy.given} >= {"observation", "outcome"}
    count, wrong = 0, []
    for via, given in spy.given:
        for way, value in reached(given, via):
            count += 1
            module = type(value).__module__
            closed = module.startswith(CLOSED) and module not in MEASURED
            if closed and not isinstance(value, TransferKind):
                wrong.append(f"{way}: {type(value).__qualname__}")
            if isinstance(value, float) and value in secrets:
                wrong.append(f"{way}: {value}")
            last = way.rpartition(".")[2].casefold()
            if any(word in last for word in SECRET):
                wrong.append(way)
    assert count > 100
    assert not wrong


def test_the_walk_finds_what_is_hidden() -> None:
    spec = layout.scenario(studies.config(), 1, 0)

    def closure() -> object:
        return spec

    for hidden in (spec, [{"a": (spec,)}], closure, spec.__repr__, types.SimpleNamespace(b=spec)):
        assert any(value is spec for _, value in reached(hidden, "x"))
    assert type(spec).__module__.startswith(CLOSED)
    assert not Observation.__module__.startswith(CLOSED)


@pytest.mark.parametrize("module", sorted([*CLOSED, *MEASURED]))
def test_the_modules_it_looks_for_are_there(module: str) -> None:
    """A module that was renamed would be looked for in vain."""
    assert importlib.util.find_spec(module) is not None
