"""What every scheme promises: valid plans that fit, the same for the same, JSON both ways."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import lab
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheming import observation

from collapipe_ns3 import plan
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.prediction.memory import memory_problems
from collapipe_ns3.schedule import SCHEDULES
from collapipe_ns3.schemes import GROUP, Scheme
from collapipe_ns3.schemes.oracle import Oracle

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
POINTS: dict[str, str] = PROJECT["project"]["entry-points"][GROUP]


@pytest.fixture(params=POINTS, scope="module")
def make(request: pytest.FixtureRequest) -> Callable[[], Scheme]:
    """The constructor of each scheme that the project declares."""
    module, name = POINTS[request.param].split(":")
    made: Callable[[], Scheme] = getattr(import_module(module), name)
    return made


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
        outcome = lab.run_one(scheme.plan(number, seen), state)
        assert outcome.loss > 0
        assert not outcome.abandoned
        scheme.learn(outcome)


def test_it_says_in_its_docstring_where_it_comes_from(make: Callable[[], Scheme]) -> None:
    text = make.__doc__
    assert text is not None
    assert "this project's" in text or "reconstructs" in text
