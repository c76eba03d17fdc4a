"""Event graphs: queues, half-duplex radios, channels shared evenly, copies of tasks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapipe_ns3.eventgraph.graph import EventGraph, Hold, execute
from collapipe_ns3.prediction.round_time import processor_sharing_ends_s


def test_tasks_are_served_in_the_order_of_requests_and_a_latency_blocks_nobody() -> None:
    graph = EventGraph()
    link = (("a", "b"), Hold.ALONE)
    first, second = (
        graph.add(hold_ns=10, latency_ns=5, claims=(link,), transfer=True) for _ in range(2)
    )
    done = execute(graph)
    assert [done.start_ns[first], done.end_ns[first]] == [0, 15]
    assert [done.start_ns[second], done.end_ns[second]] == [10, 25]


def test_a_deferred_task_comes_after_what_others_cause_that_end_at_the_same_instant() -> None:
    ends = []
    for deferred in (False, True):
        graph = EventGraph()
        one, other = (graph.add(hold_ns=10, claims=((n, Hold.ALONE),), transfer=True) for n in "ab")
        link = (("link", Hold.ALONE),)
        first = graph.add([one], hold_ns=3, claims=link, transfer=True)
        second = graph.add([other], hold_ns=3, claims=link, transfer=True)
        if deferred:
            graph.defer(first)
        done = execute(graph)
        ends.append([done.end_ns[first], done.end_ns[second]])
    assert ends == [[13, 16], [16, 13]]


def test_a_task_waits_for_all_tasks_that_it_needs() -> None:
    graph = EventGraph()
    fast, slow = graph.add(hold_ns=3), graph.add(hold_ns=7)
    last = graph.add([fast, slow], hold_ns=1)
    assert execute(graph).end_ns[last] == 8


def test_a_circle_is_an_error() -> None:
    graph = EventGraph()
    one = graph.add(hold_ns=1)
    other = graph.add([one], hold_ns=1)
    graph.link(other, one)
    with pytest.raises(ValueError, match="2 tasks wait for each other"):
        execute(graph)


def half_duplex(src: str, dst: str) -> tuple[tuple[object, Hold], ...]:
    return (
        ((src, dst), Hold.ALONE),
        (("radio", src), Hold.SENDING),
        (("radio", dst), Hold.RECEIVING),
    )


def test_a_half_duplex_radio_sends_to_several_at_once_and_does_not_receive_meanwhile() -> None:
    graph = EventGraph()
    to_b, to_c, back, apart = (
        graph.add(hold_ns=10, claims=half_duplex(*pair), transfer=True)
        for pair in (("a", "b"), ("a", "c"), ("d", "a"), ("e", "f"))
    )
    done = execute(graph)
    assert [done.start_ns[task] for task in (to_b, to_c, back, apart)] == [0, 0, 10, 0]


def test_a_half_duplex_radio_turns_to_receiving_for_a_transfer_that_waits() -> None:
    """Transfers requested later in the present direction do not delay it."""
    graph = EventGraph()
    graph.add(hold_ns=10, claims=half_duplex("a", "b"), transfer=True)
    waiting = graph.add(hold_ns=10, claims=half_duplex("d", "a"), transfer=True)
    clock = graph.add(hold_ns=5)
    later = graph.add([clock], hold_ns=10, claims=half_duplex("a", "c"), transfer=True)
    done = execute(graph)
    assert [done.start_ns[waiting], done.start_ns[later]] == [10, 20]


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**6)), min_size=1, max_size=8),
)
def test_a_channel_shared_evenly_is_processor_sharing(jobs: list[tuple[int, int]]) -> None:
    graph = EventGraph()
    tasks = []
    for number, (ready_ns, hold_ns) in enumerate(jobs):
        clock = graph.add(hold_ns=ready_ns)
        claims = ((number, Hold.ALONE), ("channel", Hold.EVENLY))
        tasks.append(graph.add([clock], hold_ns=hold_ns, claims=claims, transfer=True))
    done = execute(graph)
    ready, holds = np.array(jobs, dtype=float).T
    expected = processor_sharing_ends_s(ready, holds)
    assert [done.end_ns[task] for task in tasks] == pytest.approx(list(expected), abs=len(jobs) + 1)


def test_two_transfers_that_share_evenly_take_twice_as_long() -> None:
    ends = processor_sharing_ends_s(np.array([0.0, 0.0, 10.0]), np.array([2.0, 3.0, 1.0]))
    assert ends == pytest.approx([4.0, 5.0, 11.0])


def test_copied_tasks_run_after_the_tasks_they_were_copied_from() -> None:
    graph = EventGraph()
    begin = graph.add(hold_ns=2)
    first = graph.add([begin], hold_ns=3, claims=(("cpu", Hold.ALONE),))
    last = graph.add([first])
    again = graph.repeat(begin, first, last)
    third = graph.repeat(last, last + 1, again)
    done = execute(graph)
    assert [done.end_ns[task] for task in (last, again, third)] == [5, 8, 11]
