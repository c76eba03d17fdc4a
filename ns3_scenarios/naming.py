"""Checks the types, attributes and values of ns-3 that a scenario names, by asking ns-3."""

from __future__ import annotations

from collections.abc import Iterator

from ns3_scenarios import runtime
from ns3_scenarios.channel import KINDS
from ns3_scenarios.problem import Problem
from ns3_scenarios.propagation import channel_names
from ns3_scenarios.protected import PROTECTED
from ns3_scenarios.runtime import BadValue, UnknownName
from ns3_scenarios.scenario import ScenarioSpec


def asks_ns3(spec: ScenarioSpec) -> bool:
    """Whether a scenario names or sets anything of ns-3 other than the radios' own defaults."""
    return bool(spec.ns3_defaults) or any(
        radio.propagation.attributes != type(radio)().propagation.attributes
        if radio.propagation.kind == type(radio)().propagation.kind
        else radio.propagation.attributes or radio.propagation.kind not in KINDS
        for radio in spec.radios.values()
    )


def ns3_problems(spec: ScenarioSpec) -> list[Problem]:
    """Everything that ns-3 doesn't have or refuses, in the form of `checks.problems`.

    Loads ns-3, and changes nothing in it.
    """
    return [
        *(
            problem
            for tier, radio in spec.radios.items()
            for problem in channel_names(f"{tier}.propagation", radio.propagation)
        ),
        *_default_problems(spec),
    ]


def _default_problems(spec: ScenarioSpec) -> Iterator[Problem]:
    for path, value in spec.ns3_defaults.items():
        if path in PROTECTED:
            yield f"ns3_defaults.{path}", f"can't be changed: {PROTECTED[path]}"
            continue
        try:
            runtime.checked_default(path, value)
        except (UnknownName, BadValue) as error:
            yield f"ns3_defaults.{path}", str(error).removeprefix(f"{path}: ")
