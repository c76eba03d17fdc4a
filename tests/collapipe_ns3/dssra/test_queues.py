"""Virtual queues: the recursion, and the bound on averages that a queue gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapipe_ns3.dssra.queues import Queues, grown

USES = st.lists(st.floats(0, 10), min_size=1, max_size=50)


@given(USES, st.floats(0.1, 5))
def test_a_queue_is_the_highest_sum_of_excesses_up_to_now(uses: list[float], budget: float) -> None:
    """Q(T) = max over t of Σ_{s>t} (x(s)/X̄ - 1), or 0: the recursion in closed form."""
    queue = 0.0
    for used in uses:
        queue = grown(queue, used, budget)
    sums = [sum(used / budget - 1 for used in uses[t:]) for t in range(len(uses) + 1)]
    assert queue == pytest.approx(max(sums), abs=1e-9)


@given(USES, st.floats(0.1, 5))
def test_the_average_is_within_the_budget_by_what_is_queued(
    uses: list[float], budget: float
) -> None:
    queue = 0.0
    for used in uses:
        queue = grown(queue, used, budget)
    assert sum(uses) / len(uses) <= budget * (1 + queue / len(uses)) * (1 + 1e-9) + 1e-12


def test_queues_of_nodes_with_budgets_and_of_divergence() -> None:
    before = Queues({"a": 1.0}, 0.5)
    after = before.after({"a": 3.0, "b": 1.0, "c": 9.0}, {"a": 2.0, "b": 4.0}, 3.0, 1.5)
    assert after == Queues({"a": 1.5, "b": 0.0}, 1.5)
    assert Queues.from_json(after.to_json()) == after
