"""What every scheme promises: valid plans that fit, the same for the same, JSON both ways."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import lab
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scheming import observation

from collapipe_ns3 import plan, schemes
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.prediction.memory import memory_problems
from collapipe_ns3.schedule import SCHEDULES
from collapipe_ns3.schemes import SCHEMES, Remembering, Scheme
from collapipe_ns3.schemes.oracle import Oracle

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
POINTS: dict[str, str] = PROJECT["project"]["entry-points"][SCHEMES.group]


@pytest.fixture(params=POINTS, scope="module")
def make(request: pytest.FixtureRequest) -> Callable[[], Scheme]:
    """The constructor of each scheme that the project declares."""
    module, name = POINTS[request.param].split(":")
    made: Callable[[], Scheme] = getattr(import_module(module), name)
    return made


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    blocks=st.integers(1, 8),
    batch_size=st.sampled_from([12, 16, 60]),
)
def test_its_plans_can_be_executed_and_are_the_same_for_the_same(
    make: Callable[[], Scheme], sizes: list[int], blocks: int, batch_size: int
) -> None:
    if make is Oracle:  # made for tiny instances
        sizes, blocks, batch_size = [min(size, 2) for size in sizes[:1]], min(blocks, 2), 4
    seen = observation(sizes, blocks, batch_size)
    made = make().plan(3, seen)
    plan.validate(
        made,
        devices=seen.devices,
        blocks=blocks,
        batch_size=batch_size,
        schedules=tuple(SCHEDULES),
    )
    assert list(memory_problems(made, seen)) == []
    assert made.round == 3
    assert make().plan(3, seen) == made
    assert RoundPlan.from_json(json.loads(json.dumps(made.to_json()))) == made
    for link in made.links:
        if link.tx_power_w is not None:
            assert 0 < link.tx_power_w <= seen.profiles[link.src].max_tx_power_w


def test_the_engine_executes_its_plans_and_it_learns_from_them(
    make: Callable[[], Scheme],
) -> None:
    scheme, state = make(), lab.fresh(lab.adamw)
    seen = observation([3], 4)
    for number in range(2):
        before = copy.deepcopy(state.model.state_dict())
        outcome = lab.run_one(scheme.plan(number, seen), state)
        assert not outcome.abandoned
        assert all(not torch.equal(before[n], t) for n, t in state.model.state_dict().items())
        scheme.learn(outcome)
        assert (memory_of(scheme) != memory_of(make())) == isinstance(scheme, Remembering)


def memory_of(scheme: Scheme) -> str:
    """What a scheme would keep in a checkpoint, as text; empty where it keeps nothing."""
    return json.dumps(scheme.memory()) if isinstance(scheme, Remembering) else ""


@pytest.mark.parametrize("name", POINTS)
def test_its_plans_carry_the_name_by_which_it_is_installed(name: str) -> None:
    """Every table of a run says by this name which scheme made it."""
    made = schemes.make(name, {})
    assert made.plan(0, observation([2], 2, 4)).scheme == name
