"""Learning rates of steps by hand."""

from __future__ import annotations

import math

import pytest

from collapipe_ns3.config.study import Training
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.learning.updates import UpdateRule


def test_schedules_by_hand() -> None:
    def factors(rule: UpdateRule) -> list[float]:
        return [rule.factor(step) for step in range(8)]

    assert factors(UpdateRule()) == [1.0] * 8
    assert factors(UpdateRule(warm_up_steps=4)) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]
    linear = UpdateRule("linear", warm_up_steps=2, total_steps=6)
    assert factors(linear) == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    cosine = [1.0, (2 + math.sqrt(2)) / 4, 0.5, (2 - math.sqrt(2)) / 4, 0.0, 0.0, 0.0, 0.0]
    assert factors(UpdateRule("cosine", total_steps=4)) == pytest.approx(cosine)


def test_a_warm_up_that_is_longer_than_the_training() -> None:
    rule = UpdateRule("linear", warm_up_steps=8, total_steps=4)
    assert [rule.factor(step) for step in range(4)] == [0.125, 0.25, 0.375, 0.5]
    assert rule.factor(9) == 0


def test_a_study_counts_the_steps_of_all_rounds() -> None:
    settings = Training(schedule="cosine", local_steps=5, clip_norm=1.0)
    assert settings.updates(rounds=4).total_steps == 20
    assert settings.kind.flops == OPTIMIZERS["adamw"].flops + 3
