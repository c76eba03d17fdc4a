"""Pipeline schedules as data.

A schedule is a table that lists, for every stage, its actions in order. The engine executes the
table and knows no other rule, so what is validated and printed is what runs. An action is printed
as `2F0`: stage 2, forward, micro-batch 0. Stage 0 is the embedding, and the last stage the decoder.

In the training mode `local_head`, a local head takes the decoder's place at the end of the line,
and the decoder is a branch that follows it (`with_branch`).

GPipe (Huang et al., NeurIPS 2019) runs all forwards, then all backwards. 1F1B (PipeDream-flush,
Narayanan et al., ICML 2021) alternates after a warm-up. Its bubble is the same, but stage i of N
keeps at most N - i micro-batches in memory, instead of all M.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Set
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import overload

import numpy as np
from numpy.typing import NDArray

from collapipe_ns3.plan import Pipeline


class ActionKind(StrEnum):
    """What an action does.

    A receive waits for its message; a send does not wait for the transfer to end.
    """

    FORWARD = "F"
    BACKWARD = "B"
    SEND_ACTIVATION = "SEND_F"
    RECEIVE_ACTIVATION = "RECV_F"
    SEND_GRADIENT = "SEND_B"
    RECEIVE_GRADIENT = "RECV_B"
    SEND_LABELS = "SEND_L"
    RECEIVE_LABELS = "RECV_L"


RECEIVES = (ActionKind.RECEIVE_ACTIVATION, ActionKind.RECEIVE_GRADIENT, ActionKind.RECEIVE_LABELS)
SENDS = (ActionKind.SEND_ACTIVATION, ActionKind.SEND_GRADIENT, ActionKind.SEND_LABELS)


@dataclass(frozen=True, slots=True)
class Action:
    """One action of one stage on one micro-batch; prints as `2F0`."""

    stage: int
    kind: ActionKind
    micro_batch: int

    def __str__(self) -> str:
        return f"{self.stage}{self.kind}{self.micro_batch}"


#: Numbers of stages or of micro-batches, for many pipelines at once.
Counts = NDArray[np.intp]

#: For each stage, its actions in order.
Table = tuple[tuple[Action, ...], ...]


def gpipe(stages: int, micro_batches: int) -> Table:
    """All forwards, then all backwards, at every stage."""
    every = range(micro_batches)
    order = [(ActionKind.FORWARD, m) for m in every] + [(ActionKind.BACKWARD, m) for m in every]
    return _with_messages([order] * stages)


def one_f_one_b(stages: int, micro_batches: int) -> Table:
    """At stage i of N, N - 1 - i forwards to warm up, then one forward and one backward in turn."""
    warm_ups = [one_f_one_b_window(stages, stage) - 1 for stage in range(stages)]
    return _with_messages([_alternating(warm_up, micro_batches) for warm_up in warm_ups])


@overload
def one_f_one_b_window(stages: int, stage: int) -> int: ...
@overload
def one_f_one_b_window(stages: Counts, stage: int | Counts) -> Counts: ...
def one_f_one_b_window(stages: int | Counts, stage: int | Counts) -> int | Counts:
    """How many micro-batches a stage of a pipeline has in flight at most under 1F1B: N - i.

    In flight are those whose forward pass the stage has run, and whose backward pass it has not.
    Either may be an array, for many pipelines or stages at once.
    """
    return stages - stage


SCHEDULES = {"gpipe": gpipe, "1f1b": one_f_one_b}


def _alternating(warm_up: int, micro_batches: int) -> list[tuple[ActionKind, int]]:
    ahead = min(warm_up, micro_batches)
    order = [(ActionKind.FORWARD, m) for m in range(ahead)]
    for m in range(micro_batches):
        if m + ahead < micro_batches:
            order.append((ActionKind.FORWARD, m + ahead))
        order.append((ActionKind.BACKWARD, m))
    return order


def _with_messages(orders: list[list[tuple[ActionKind, int]]]) -> Table:
    """Adds to each stage's computations the messages that they need and that they produce."""
    last = len(orders) - 1
    table = []
    for stage, order in enumerate(orders):
        actions: list[tuple[ActionKind, int]] = []
        if stage == 0:
            # Labels are sent first, while the link to the base station would be idle.
            actions += [
                (ActionKind.SEND_LABELS, m) for kind, m in order if kind is ActionKind.FORWARD
            ]
        for kind, m in order:
            if kind is ActionKind.FORWARD:
                actions += [(ActionKind.RECEIVE_ACTIVATION, m)] if stage > 0 else []
                actions += [(ActionKind.RECEIVE_LABELS, m)] if stage == last else []
                actions += [(kind, m)]
                actions += [(ActionKind.SEND_ACTIVATION, m)] if stage < last else []
            else:
                actions += [(ActionKind.RECEIVE_GRADIENT, m)] if stage < last else []
                actions += [(kind, m)]
                actions += [(ActionKind.SEND_GRADIENT, m)] if stage > 0 else []
        table.append(tuple(Action(stage, kind, m) for kind, m in actions))
    return tuple(table)


def with_branch(line: Table) -> Table:
    """The table of the training mode `local_head`, from the table of a line of stages.

    The last stage of the line is the local head, which is where the labels are. As soon as it has
    received the features of a micro-batch, it sends them on to a further stage, the decoder. That
    trains on them, one micro-batch after the other, and sends nothing back.
    """
    *others, head = line
    branch = len(line)
    sending = (
        Action(each.stage, ActionKind.SEND_ACTIVATION, each.micro_batch)
        if each.kind is ActionKind.RECEIVE_LABELS
        else each
        for each in head
    )
    kinds = (
        ActionKind.RECEIVE_ACTIVATION,
        ActionKind.RECEIVE_LABELS,
        ActionKind.FORWARD,
        ActionKind.BACKWARD,
    )
    order = [action.micro_batch for action in head if action.kind is ActionKind.FORWARD]
    decoder = tuple(Action(branch, kind, m) for m in order for kind in kinds)
    return (*others, tuple(sending), decoder)


@lru_cache(maxsize=256)  # a run executes and predicts the same few tables in every round
def table(name: str, stages: int, micro_batches: int, local_head: bool = False) -> Table:
    """The table of a schedule in `SCHEDULES`, validated; raises `ScheduleError`.

    With `local_head`, the last of the `stages` is the branch of `with_branch`.
    """
    made = SCHEDULES[name](stages - local_head, micro_batches)
    validate(made, micro_batches)
    return with_branch(made) if local_head else made


def schedule_of(pipeline: Pipeline, local_head: bool = False) -> Table:
    """The table that a pipeline executes; raises `ScheduleError`.

    The embedding is the stage before the segments, the decoder the one after them; with
    `local_head`, the local head is between the segments and the decoder.
    """
    stages = len(pipeline.stages) + 2 + local_head
    return table(pipeline.schedule, stages, pipeline.micro_batches, local_head)


class ScheduleError(ValueError):
    """A table that can't be executed; the message has the table with the error's place marked."""


def validate(table: Table, micro_batches: int) -> None:
    """Checks a table, also for deadlocks; raises `ScheduleError` for the first error.

    At each stage every micro-batch has exactly one forward and a later backward, both in rising
    order of micro-batches, as gradients accumulate in that order. Every computation follows the
    messages that it needs and precedes those that it produces. Every receive has its send, and
    executing the actions in order never ends in a deadlock.
    """
    if len(table) < 2:
        raise ScheduleError(f"expected at least two stages, not {len(table)}")
    # Every schedule has the same set of actions as GPipe.
    for stage, expected in enumerate(gpipe(len(table), micro_batches)):
        _check_stage(table, stage, micro_batches, set(expected))
    _check_deadlocks(table)


def _check_stage(table: Table, stage: int, count: int, expected: Set[Action]) -> None:
    actions, last = table[stage], len(table) - 1
    before: set[Action] = set()
    for place, action in enumerate(actions):
        if action.stage != stage:
            raise _error(table, f"{action} is in the list of stage {stage}", {stage: place})
        if action in before:
            raise _error(table, f"{action} is listed twice", {stage: place})
        if not 0 <= action.micro_batch < count:
            raise _error(table, f"{action}: there are {count} micro-batches", {stage: place})
        for need in _needs(action, stage, last):
            if need not in before:
                raise _error(table, f"{action} without {need} before it", {stage: place})
        before.add(action)
    if missing := sorted(map(str, expected - before)):
        raise _error(table, f"stage {stage} lacks {', '.join(missing)}", {stage: len(actions)})
    latest: dict[ActionKind, Action] = {}
    for place, action in enumerate(actions):
        earlier = latest.get(action.kind, action)
        if action.micro_batch < earlier.micro_batch:
            raise _error(table, f"{action} comes after {earlier}", {stage: place})
        latest[action.kind] = action


def _needs(action: Action, stage: int, last: int) -> Iterator[Action]:
    """The actions that must come earlier at the same stage."""
    m = action.micro_batch
    if action.kind is ActionKind.FORWARD:
        if stage > 0:
            yield Action(stage, ActionKind.RECEIVE_ACTIVATION, m)
        if stage == last:
            yield Action(stage, ActionKind.RECEIVE_LABELS, m)
    elif action.kind is ActionKind.BACKWARD:
        yield Action(stage, ActionKind.FORWARD, m)
        if stage < last:
            yield Action(stage, ActionKind.RECEIVE_GRADIENT, m)
    elif action.kind is ActionKind.SEND_ACTIVATION:
        yield Action(stage, ActionKind.FORWARD, m)
    elif action.kind is ActionKind.SEND_GRADIENT:
        yield Action(stage, ActionKind.BACKWARD, m)


def matching_send(receive: Action) -> Action:
    """The send of the message that a receive waits for."""
    m = receive.micro_batch
    if receive.kind is ActionKind.RECEIVE_ACTIVATION:
        return Action(receive.stage - 1, ActionKind.SEND_ACTIVATION, m)
    if receive.kind is ActionKind.RECEIVE_GRADIENT:
        return Action(receive.stage + 1, ActionKind.SEND_GRADIENT, m)
    return Action(0, ActionKind.SEND_LABELS, m)


def matching_receive(send: Action, last: int) -> Action:
    """The receive that waits for a send's message, in a table whose last stage is `last`."""
    m = send.micro_batch
    if send.kind is ActionKind.SEND_ACTIVATION:
        return Action(send.stage + 1, ActionKind.RECEIVE_ACTIVATION, m)
    if send.kind is ActionKind.SEND_GRADIENT:
        return Action(send.stage - 1, ActionKind.RECEIVE_GRADIENT, m)
    return Action(last, ActionKind.RECEIVE_LABELS, m)


def _check_deadlocks(table: Table) -> None:
    """Executes the table without doing anything, until no action is left or none can be executed.

    A stage that waits for a send continues once that was executed, so that every action is looked
    at twice at most.
    """
    places = [0] * len(table)
    done: set[Action] = set()
    waiting: dict[Action, int] = {}
    ready = deque(range(len(table)))
    while ready:
        stage = ready.popleft()
        while places[stage] < len(table[stage]):
            action = table[stage][places[stage]]
            if action.kind in RECEIVES and (send := matching_send(action)) not in done:
                waiting[send] = stage
                break
            done.add(action)
            places[stage] += 1
            if action in waiting:
                ready.append(waiting.pop(action))
    stuck = {stage: place for stage, place in enumerate(places) if place < len(table[stage])}
    if stuck:
        waits = "; ".join(
            f"{table[s][p]} waits for {matching_send(table[s][p])}" for s, p in stuck.items()
        )
        raise _error(table, f"deadlock: {waits}", stuck)


def _error(table: Table, what: str, marks: dict[int, int]) -> ScheduleError:
    return ScheduleError(f"{what}\n{grid(table, marks)}")


def grid(table: Table, marks: dict[int, int] | None = None) -> str:
    """The table as text, a line per stage; `marks` are places to mark, an index by stage."""
    lines = []
    for stage, actions in enumerate(table):
        cells = [str(action) for action in actions]
        if marks and stage in marks:
            place = marks[stage]
            cells[place : place + 1] = [f"[{cells[place] if place < len(cells) else 'end'}]"]
            cells.append("<-- ERROR HERE")
        lines.append(f"stage {stage}: {' '.join(cells)}")
    return "\n".join(lines)
