"""Which radio stacks there are, and which of them a scenario uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ns3_scenarios.radios.lte import LteStack
from ns3_scenarios.radios.ofdma import OfdmaStack
from ns3_scenarios.radios.stack import RadioStack
from ns3_scenarios.radios.wifi import WifiStack
from ns3_scenarios.scenario import Pair, ScenarioSpec

#: How each stack is made for a scenario; None where no tier's spec is of its type. They are
#: installed in this order, on which simulated results depend.
STACKS: tuple[Callable[[ScenarioSpec], RadioStack | None], ...] = (
    WifiStack.of,
    LteStack.of,
    OfdmaStack.of,
)


def stacks(scenario: ScenarioSpec) -> tuple[RadioStack, ...]:
    """The stacks that the scenario's tiers use."""
    found = (stack_of(scenario) for stack_of in STACKS)
    return tuple(stack for stack in found if stack is not None)


def stack_names(scenario: ScenarioSpec) -> Mapping[Pair, str]:
    """Every directed pair of nodes that share a radio, and the name of its stack."""
    return {pair: stack.name for stack in stacks(scenario) for pair in stack.pairs()}
