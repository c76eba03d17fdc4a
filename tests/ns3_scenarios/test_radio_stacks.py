"""Radio stacks behind one protocol: what is chosen, and that a new one is known everywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest
from radio_lab import scenario

import ns3_scenarios
from collapipe_ns3.topology.media import media
from ns3_scenarios import network
from ns3_scenarios.channel import AttributeValue, Channel
from ns3_scenarios.checks import problems
from ns3_scenarios.power import PowerControl
from ns3_scenarios.problem import Problem
from ns3_scenarios.radios import registry
from ns3_scenarios.radios.stack import Construction, RadioBand, RadioStack
from ns3_scenarios.scenario import LteSpec, OfdmaSpec, Pair, RadioSpec, ScenarioSpec, Tier, WifiSpec
from ns3_scenarios.traces import TRACE_KINDS, left_out


@pytest.mark.parametrize(
    ("d2d", "d2e", "chosen"),
    [
        (WifiSpec(), LteSpec(), {"wifi": ("d2d",), "lte": ("d2e",)}),
        (WifiSpec(), OfdmaSpec(), {"wifi": ("d2d",), "ofdma": ("d2e",)}),
        (OfdmaSpec(), LteSpec(), {"lte": ("d2e",), "ofdma": ("d2d",)}),
        (OfdmaSpec(), OfdmaSpec(), {"ofdma": ("d2d", "d2e")}),
    ],
)
def test_each_tier_has_the_stack_of_its_spec(
    d2d: RadioSpec, d2e: RadioSpec, chosen: Mapping[str, tuple[Tier, ...]]
) -> None:
    spec = replace(scenario(clusters=2, devices=2), d2d=d2d, d2e=d2e)
    found = registry.stacks(spec)
    assert {stack.name: stack.tiers for stack in found} == chosen
    for stack in found:
        assert {pair for band in stack.bands() for pair in band.links} == set(stack.pairs())
        assert {band.grants for band in stack.bands()} == {stack.grants_links}


def test_a_spec_at_a_tier_that_its_stack_does_not_carry_is_a_problem() -> None:
    found = dict(problems(replace(scenario(), d2d=LteSpec())))
    assert found["d2d"] == "expected a radio that has such links, not LteSpec"


def test_only_a_stack_asks_for_the_type_of_a_spec() -> None:
    specs = {"WifiSpec", "LteSpec", "OfdmaSpec"}
    root = Path(ns3_scenarios.__file__).parent
    asking = {
        path.relative_to(root.parent).as_posix()
        for folder in (root, root.parent / "collapipe_ns3")
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if asked_types(node) & specs
    }
    stacks = {"wifi", "lte", "ofdma"}
    assert asking == {f"ns3_scenarios/radios/{stack}.py" for stack in stacks}


def asked_types(node: ast.AST) -> set[str]:
    """The names in a call of `isinstance` or `type`, in a dictionary, or in a class pattern."""
    match node:
        case ast.Call(func=ast.Name(id="isinstance" | "type")):
            asked: ast.AST = node
        case ast.Dict() | ast.MatchClass():
            asked = node
        case _:
            return set()
    return {each.id for each in ast.walk(asked) if isinstance(each, ast.Name)}


def test_a_power_for_a_radio_that_is_not_there_is_refused_and_not_somebody_elses() -> None:
    with closing(network.build(scenario())) as net:
        for radio in ("ofdma", "Wi-Fi", ""):
            with pytest.raises(Exception, match=r"no .*radio that has one power"):
                net._episode.SetTxPower(0, radio, 0.1)
    with (
        closing(network.build(replace(scenario(), d2e=OfdmaSpec()))) as net,
        pytest.raises(Exception, match="no lte radio"),
    ):
        net._episode.SetTxPower(0, "lte", 0.1)


@dataclass(frozen=True, slots=True)
class LightSpec:
    """Links by visible light: a radio that the package doesn't have."""

    bandwidth_hz: float = 1e6
    carrier_hz: float = 5e14
    noise_figure_db: float = 0.0
    antenna_gain_db: float = 0.0
    propagation: Channel = field(default_factory=Channel)
    power: PowerControl | None = None


@dataclass(frozen=True, slots=True)
class LightStack:
    """From each control unit to its devices."""

    name: ClassVar[str] = "light"
    tiers: ClassVar[tuple[Tier, ...]] = ("d2d",)
    joins_tiers: ClassVar[bool] = False
    grants_links: ClassVar[bool] = False
    fixed_cells: ClassVar[str] = "lamps stay where they are"

    scenario: ScenarioSpec

    @classmethod
    def of(cls, scenario: ScenarioSpec) -> LightStack | None:
        return cls(scenario) if isinstance(scenario.d2d, LightSpec) else None

    def pairs(self) -> Sequence[Pair]:
        return [(c.cu.name, device.name) for c in self.scenario.clusters for device in c.devices]

    def unrepaired_pairs(self) -> Sequence[Pair]:
        return self.pairs()

    def problems(self) -> Iterator[Problem]:
        if self.scenario.d2d.bandwidth_hz < 1e3:
            yield "d2d.bandwidth_hz", "expected at least a kilohertz"

    def ns3_defaults(self) -> Mapping[str, AttributeValue]:
        return {}

    def install(self, construction: Construction) -> None:
        raise NotImplementedError

    def bands(self) -> Iterator[RadioBand]:
        yield RadioBand("light", tuple(self.pairs()), 1e6, (), 1e-6)

    def untraced(self, kinds: Sequence[str]) -> Iterator[str]:
        yield f"{', '.join(kinds)}: nothing of light"


def test_a_new_stack_is_a_module_and_a_line_in_the_registry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack: type[RadioStack] = LightStack
    monkeypatch.setattr(registry, "STACKS", (*registry.STACKS, LightStack.of))
    spec = replace(scenario(devices=2), d2d=LightSpec())
    assert stack.name == "light"
    assert problems(spec) == []
    assert problems(replace(spec, d2d=LightSpec(1.0)))[0][0] == "d2d.bandwidth_hz"
    assert registry.stack_names(spec)["c0.cu", "c0.d1"] == "light"
    assert ("c0.cu", "c0.d1") in {medium.name: medium for medium in media(spec)}["light"].links
    assert "netanim: nothing of light" in list(left_out(spec, ["netanim"]))
    assert any(line.startswith(", ".join(TRACE_KINDS)) for line in left_out(spec, TRACE_KINDS))
