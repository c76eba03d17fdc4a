"""Schedules as data: what they are, and that a wrong one is caught before it runs."""

from __future__ import annotations

import sys
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapipe_ns3.schedule import (
    SCHEDULES,
    Action,
    ActionKind,
    ScheduleError,
    Table,
    gpipe,
    one_f_one_b,
    one_f_one_b_window,
    table,
    validate,
)


def computations(table: Table) -> list[str]:
    kinds = (ActionKind.FORWARD, ActionKind.BACKWARD)
    return [" ".join(str(a) for a in stage if a.kind in kinds) for stage in table]


def test_gpipe_reads_as_in_the_paper() -> None:
    assert computations(gpipe(3, 3)) == [
        "0F0 0F1 0F2 0B0 0B1 0B2",
        "1F0 1F1 1F2 1B0 1B1 1B2",
        "2F0 2F1 2F2 2B0 2B1 2B2",
    ]


def test_1f1b_reads_as_in_the_paper() -> None:
    assert computations(one_f_one_b(3, 4)) == [
        "0F0 0F1 0F2 0B0 0F3 0B1 0B2 0B3",
        "1F0 1F1 1B0 1F2 1B1 1F3 1B2 1B3",
        "2F0 2B0 2F1 2B1 2F2 2B2 2F3 2B3",
    ]


def test_messages_stand_around_what_needs_and_what_causes_them() -> None:
    assert [" ".join(map(str, stage)) for stage in gpipe(3, 1)] == [
        "0SEND_L0 0F0 0SEND_F0 0RECV_B0 0B0",
        "1RECV_F0 1F0 1SEND_F0 1RECV_B0 1B0 1SEND_B0",
        "2RECV_F0 2RECV_L0 2F0 2B0 2SEND_B0",
    ]


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(2, 12), st.integers(1, 16))
def test_every_schedule_of_any_size_is_valid(name: str, stages: int, micro_batches: int) -> None:
    validate(SCHEDULES[name](stages, micro_batches), micro_batches)


@given(st.integers(2, 9), st.integers(1, 12))
def test_1f1b_keeps_as_many_micro_batches_as_its_window_allows(stages: int, m: int) -> None:
    for stage, actions in enumerate(one_f_one_b(stages, m)):
        kept = peak = 0
        for action in actions:
            kept += {ActionKind.FORWARD: 1, ActionKind.BACKWARD: -1}.get(action.kind, 0)
            peak = max(peak, kept)
        assert peak == min(one_f_one_b_window(stages, stage), m) == min(stages - stage, m)


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(2, 5), st.integers(1, 5), st.data())
def test_a_table_with_an_action_left_out_is_refused(
    name: str, stages: int, micro_batches: int, data: st.DataObject
) -> None:
    whole = SCHEDULES[name](stages, micro_batches)
    stage = data.draw(st.integers(0, stages - 1))
    place = data.draw(st.integers(0, len(whole[stage]) - 1))
    shorter = (*whole[stage][:place], *whole[stage][place + 1 :])
    with pytest.raises(ScheduleError, match="ERROR HERE"):
        validate((*whole[:stage], shorter, *whole[stage + 1 :]), micro_batches)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_with_a_local_head_the_last_stage_is_a_branch_that_sends_nothing_back(name: str) -> None:
    *line, branch = table(name, 4, 2, local_head=True)
    expected = table(name, 3, 2)
    assert tuple(line[:-1]) == expected[:-1]
    # The local head sends on what it receives, and has the labels already.
    replaced = [str(each).replace("RECV_L", "SEND_F") for each in expected[-1]]
    assert [str(each) for each in line[-1]] == replaced
    assert " ".join(map(str, branch)) == ("3RECV_F0 3RECV_L0 3F0 3B0 3RECV_F1 3RECV_L1 3F1 3B1")


def test_a_deadlock_shows_the_grid_with_who_waits_for_whom() -> None:
    right = gpipe(2, 2)
    first, second = Action(1, ActionKind.BACKWARD, 0), Action(1, ActionKind.SEND_GRADIENT, 0)
    # Stage 0 asks for its gradient before it has sent the last activation that stage 1 waits for.
    order = " ".join(map(str, right[0]))
    assert order == "0SEND_L0 0SEND_L1 0F0 0SEND_F0 0F1 0SEND_F1 0RECV_B0 0B0 0RECV_B1 0B1"
    a = right[0]
    wrong = (*a[:4], a[6], a[7], a[4], a[5], *a[8:])
    with pytest.raises(ScheduleError) as caught:
        validate((wrong, right[1]), 2)
    assert str(caught.value).splitlines() == [
        "deadlock: 0RECV_B0 waits for 1SEND_B0; 1RECV_F1 waits for 0SEND_F1",
        "stage 0: 0SEND_L0 0SEND_L1 0F0 0SEND_F0 [0RECV_B0] 0B0 0F1 0SEND_F1 0RECV_B1 0B1"
        " <-- ERROR HERE",
        "stage 1: 1RECV_F0 1RECV_L0 1F0 [1RECV_F1] 1RECV_L1 1F1 1B0 1SEND_B0 1B1 1SEND_B1"
        " <-- ERROR HERE",
    ]
    assert first in right[1]
    assert second in right[1]


def test_backwards_out_of_order_are_refused_as_gradients_would_add_up_differently() -> None:
    right = gpipe(2, 2)
    last = right[1]
    swapped = (*last[:6], last[8], last[9], last[6], last[7])
    with pytest.raises(ScheduleError, match="1B0 comes after 1B1"):
        validate((right[0], swapped), 2)


def calls_to_validate(micro_batches: int) -> int:
    """How many Python functions are called for twelve stages: repeats to the digit."""
    checked, calls = gpipe(12, micro_batches), 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        validate(checked, micro_batches)
    finally:
        sys.setprofile(None)
    return calls


def test_validation_is_linear_in_micro_batches() -> None:
    assert calls_to_validate(64) < 4.2 * calls_to_validate(16)
