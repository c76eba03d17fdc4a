"""Three hundred rounds on changing links: budgets are kept, and V trades delay for queues."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.longterm import World, budget, run

ROUNDS = 300


@pytest.mark.slow
def test_budgets_are_kept_queues_stay_bounded_and_v_buys_delay() -> None:
    allowed = budget()
    low, middle, high = (run(v, allowed, ROUNDS) for v in (2.0, 32.0, 512.0))
    for history in (low, middle, high):
        # What a queue proves: the average exceeds its budget by no more than Q(T)/T.
        slack = history.queues[-1] / ROUNDS
        assert (history.energy_j.mean(0) <= allowed * (1 + slack) * (1 + 1e-9)).all()
        # Bounded: no longer in the last hundred rounds than in the hundred before, but for chance.
        assert history.queues[200:].max() < 1.5 * history.queues[100:200].max() + 5
    assert low.worst_use < 1.02
    assert middle.worst_use < 1.04
    # O(1/V): a delay that is near the minimum is not made shorter by a larger V.
    assert low.mean_delay_s > 1.02 * middle.mean_delay_s
    assert high.mean_delay_s == pytest.approx(middle.mean_delay_s, rel=0.01)
    assert low.mean_queue < middle.mean_queue < high.mean_queue
    # O(V): sixteen times V, no more than sixteen times the queue.
    assert high.mean_queue < 16 * middle.mean_queue


def test_the_world_is_the_same_for_the_same_seed_and_moves_on() -> None:
    one, other = World(3), World(3)
    assert one.observation() == other.observation()
    before = one.observation().links[0].gain
    one.move_on()
    assert one.observation().links[0].gain != before
    other.move_on()
    assert one.observation() == other.observation()


def test_shadowing_keeps_its_spread() -> None:
    world = World(5, clusters=1, devices=2)
    kept = []
    for _ in range(400):
        world.move_on()
        kept.append(list(world.shadow_db.values()))
    assert np.std(kept) == pytest.approx(6.0, rel=0.25)
