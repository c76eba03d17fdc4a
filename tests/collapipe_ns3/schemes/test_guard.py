"""What a scheme may not hand back is refused in words, and what it is given is its own."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import lab
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scheming import observation

from collapipe_ns3.plan import (
    ClusterPlan,
    LinkPlan,
    Pipeline,
    PlanError,
    RoundPlan,
    Stage,
    Terms,
    validate,
)
from collapipe_ns3.schemes import SchemeFailed
from collapipe_ns3.schemes.guard import GuardedScheme
from collapipe_ns3.schemes.pipeline import PipeLine
from collapipe_ns3.schemes.read_plain import NotPlain, read_json, read_memory, read_plan

SEEN = observation([2], 4)
GOOD = PipeLine().plan(3, SEEN)
OUTCOME = lab.run_one(PipeLine().plan(0, SEEN))


def scheme(**calls: Any) -> GuardedScheme:
    """A scheme with these calls in place of PipeLine's."""
    made = PipeLine()
    for name, call in calls.items():
        setattr(made, name, call)
    return GuardedScheme("mine", made)


def planning(plan: object) -> GuardedScheme:
    return scheme(plan=lambda round, seen: plan)


def with_pipeline(**changed: Any) -> RoundPlan:
    pipeline = dataclasses.replace(GOOD.clusters[0].pipelines[0], **changed)
    return dataclasses.replace(GOOD, clusters=(ClusterPlan(0, (pipeline,)),))


PIPE = "clusters[0].pipelines[0]"


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (None, "the plan: expected a RoundPlan, not None"),
        (GOOD.to_json(), "the plan: expected a RoundPlan, not {"),
        (dataclasses.replace(GOOD, round=4), "a RoundPlan of round 3, not one of round 4"),
        (dataclasses.replace(GOOD, round="3"), "round: expected a whole number, not '3'"),
        (dataclasses.replace(GOOD, clusters=GOOD.clusters[0]), "clusters: expected a tuple of"),
        (dataclasses.replace(GOOD, links="ab"), "links: expected a tuple of LinkPlan, not 'ab'"),
        (with_pipeline(stages="c0.d0"), f"{PIPE}.stages: expected a tuple of Stage, not 'c0.d0'"),
        (with_pipeline(stages=(("c0.d0", 0, 3),)), f"{PIPE}.stages[0]: expected a Stage, not ("),
        (with_pipeline(micro_batches=4.0), f"{PIPE}.micro_batches: expected a whole number, not 4"),
        (
            with_pipeline(micro_batches=True),
            f"{PIPE}.micro_batches: expected a whole number, not T",
        ),
        (
            with_pipeline(stages=(Stage("c0.d0", 0, 3, recompute=1),)),  # type: ignore[arg-type]
            f"{PIPE}.stages[0].recompute: expected true or false, not 1",
        ),
        (with_pipeline(share="all"), f"{PIPE}.share: expected a finite number, not 'all'"),
        (with_pipeline(share=math.nan), f"{PIPE}.share: expected a finite number, not nan"),
        (with_pipeline(share=10**400), f"{PIPE}.share: expected a finite number, not 1000"),
        (with_pipeline(schedule=None), f"{PIPE}.schedule: expected a text, not None"),
        (with_pipeline(decoder=3), f"{PIPE}.decoder: expected a text, not 3"),
        (dataclasses.replace(GOOD, terms=(2, 1.0)), "terms: expected a Terms, not (2, 1.0)"),
        (dataclasses.replace(GOOD, exchange=1), "exchange: expected an Exchange, not 1"),
        (
            dataclasses.replace(GOOD, terms=Terms(1.5)),  # type: ignore[arg-type]
            "terms.resends: expected a whole number, not 1.5",
        ),
        (
            dataclasses.replace(GOOD, terms=Terms(2, math.inf)),
            "terms.resend_after_s: expected a finite number, not inf",
        ),
        (
            dataclasses.replace(GOOD, links=(LinkPlan("bs", "c0.cu", "None"),)),
            "links[0].tx_power_w: expected a finite number, not 'None'",
        ),
        (
            dataclasses.replace(GOOD, links=(LinkPlan("bs", "c0.cu", torch.tensor(0.1)),)),
            "links[0].tx_power_w: expected a finite number, not tensor(0.1",
        ),
    ],
)
def test_a_field_of_a_wrong_type_is_named_with_scheme_and_round(plan: object, says: str) -> None:
    with pytest.raises(SchemeFailed) as caught:
        planning(plan).plan(3, SEEN)
    assert str(caught.value).startswith("scheme mine, planning round 3: ")
    assert says in str(caught.value)


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(SchemeFailed) as caught:
        planning(with_pipeline(micro_batches="4", share=None)).plan(3, SEEN)
    assert f"{PIPE}.micro_batches" in str(caught.value)
    assert f"{PIPE}.share" in str(caught.value)


def test_numpys_numbers_and_lists_become_pythons() -> None:
    stages = [Stage(s.device, np.int64(s.first), np.int32(s.last))  # type: ignore[arg-type]
              for s in GOOD.clusters[0].pipelines[0].stages]  # fmt: skip
    given = with_pipeline(stages=stages, micro_batches=np.int64(4), share=np.float32(1))
    given = dataclasses.replace(
        given,
        clusters=list(given.clusters),
        round=np.int64(3),
        terms=Terms(np.int64(2), np.float64(1)),
    )
    plan = planning(given).plan(3, SEEN)
    assert plan == dataclasses.replace(GOOD, scheme="mine")
    assert hash(plan) == hash(dataclasses.replace(GOOD, scheme="mine"))
    assert RoundPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_plan_carries_the_studys_name_for_its_scheme() -> None:
    assert GOOD.scheme == "pipeline"
    assert planning(GOOD).plan(3, SEEN).scheme == "mine"


numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**12, -1, 0, 2**70]), st.none(), st.text()
)


@given(
    first=numbers,
    last=numbers,
    micro_batches=numbers,
    share=numbers,
    cluster=numbers,
    power=numbers,
    resends=numbers,
    pause=numbers,
)
def test_any_numbers_in_a_plan_end_in_an_answer(
    first: Any,
    last: Any,
    micro_batches: Any,
    share: Any,
    cluster: Any,
    power: Any,
    resends: Any,
    pause: Any,
) -> None:
    """Valid, refused as malformed, or refused as impossible: no other exception, and at once."""
    pipes = tuple(
        Pipeline((Stage("c0.d0", first, last),), micro_batches, "gpipe", share) for _ in range(2)
    )
    links = (LinkPlan("bs", "c0.cu", power, power),)
    plan = RoundPlan(3, "x", (ClusterPlan(cluster, pipes),), links, terms=Terms(resends, pause))
    with suppress(NotPlain, PlanError):
        validate(
            read_plan(plan),
            devices=SEEN.devices,
            blocks=4,
            batch_size=12,
            schedules=["gpipe"],
        )


def leave(*arguments: object) -> None:
    raise SystemExit


def broken(*arguments: object) -> None:
    raise KeyError("c9")


def forever(*arguments: object) -> Iterator[tuple[str, str]]:
    while True:
        yield ("bs", "c0.cu")


CALLS: dict[str, Callable[[GuardedScheme], object]] = {
    "plan": lambda guarded: guarded.plan(3, SEEN),
    "sounding": lambda guarded: guarded.sounding(3, SEEN),
    "explain": lambda guarded: guarded.explain(3, OUTCOME),
    "learn": lambda guarded: guarded.learn(OUTCOME),
    "energy_queues": lambda guarded: guarded.energy_queues(3, SEEN.profiles),
    "energy_budgets_j": lambda guarded: guarded.energy_budgets_j(3, SEEN),
    "memory": lambda guarded: guarded.memory(3),
    "remember": lambda guarded: guarded.remember(3, {}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("fails", "says"), [(leave, "SystemExit"), (broken, "KeyError: 'c9' (test_guard.py, line ")]
)
def test_what_a_call_raises_names_the_scheme_and_the_place(
    call: str, fails: Callable[..., None], says: str
) -> None:
    pair = {"memory": "remember", "remember": "memory"}.get(call)
    others = {pair: lambda *arguments: {}} if pair else {}
    with pytest.raises(SchemeFailed) as caught:
        CALLS[call](scheme(**{call: fails}, **others))
    assert str(caught.value).startswith("scheme mine, ")
    assert says in str(caught.value)


LOOP: dict[str, Any] = {}
LOOP["again"] = LOOP


@pytest.mark.parametrize(
    ("call", "junk", "says"),
    [
        ("sounding", None, "expected links as (from, to), not None"),
        ("sounding", "bs", "expected links as (from, to), not 'bs'"),
        ("sounding", [("bs", "c0.cu", "c0.d0")], "expected a link as (from, to), not ('bs'"),
        ("sounding", ["bs"], "expected a link as (from, to), not 'bs'"),
        ("sounding", [("bs", "c7.cu")], "there is no node 'c7.cu' in the link ('bs', 'c7.cu')"),
        ("sounding", [("bs", ["c0.cu"])], "there is no node ['c0.cu']"),
        ("sounding", [("bs", "bs")], "expected two nodes in a link"),
        ("sounding", forever(), "expected at most 16 links"),
        ("explain", ["why"], "expected a mapping, not ['why']"),
        ("explain", {"a": {"b": object}}, "['a']['b']: expected plain data, not <class 'object'>"),
        (
            "explain",
            {"a": {math.nan: 1}},
            "['a']: expected texts or whole numbers as keys, not nan",
        ),
        (
            "explain",
            {"a": np.zeros(2)},
            "['a']: expected plain data, not array([0., 0.]) (ndarray)",
        ),
        ("explain", {"a": torch.zeros(1)}, "['a']: expected plain data, not tensor([0.])"),
        ("explain", LOOP, "is nested more than 100 deep, or contains itself"),
        ("energy_queues", [1.0], "expected numbers by node, not [1.0]"),
        ("energy_queues", {"c0.d7": 1.0}, "there is no node 'c0.d7'"),
        ("energy_queues", {math.nan: 1.0}, "there is no node nan"),
        ("energy_queues", {"c0.d0": "much"}, "c0.d0: expected a finite number, not 'much'"),
        ("energy_queues", {"c0.d0": math.inf}, "c0.d0: expected a finite number, not inf"),
        ("energy_budgets_j", {"c0.d7": 1.0}, "there is no node 'c0.d7'"),
        ("energy_budgets_j", {"c0.d0": None}, "c0.d0: expected a finite number, not None"),
        ("memory", 7, "expected a mapping, not 7"),
        ("memory", {"a": {1, 2}}, "['a']: expected plain data, not {1, 2} (set)"),
        ("memory", {("a",): 1}, "the mapping: expected texts or whole numbers as keys, not ('a',)"),
        ("memory", {"a": [lambda: 0]}, "['a'][0]: expected plain data, not <function"),
        ("memory", {"a": np.zeros(2)}, "['a']: expected plain data, not array([0., 0.]) (ndarray)"),
        ("memory", LOOP, "is nested more than 100 deep, or contains itself"),
    ],
)
def test_what_a_call_hands_back_is_checked(call: str, junk: object, says: str) -> None:
    others = {"remember": lambda memory: None} if call == "memory" else {}
    with pytest.raises(SchemeFailed) as caught:
        CALLS[call](scheme(**{call: lambda *arguments: junk}, **others))
    assert str(caught.value).startswith("scheme mine, ")
    assert says in str(caught.value)


def test_one_call_of_a_pair_alone_is_refused() -> None:
    """A scheme that gives its memory and never takes it up would resume to other plans."""
    with pytest.raises(SchemeFailed, match=r"scheme mine: expected it to have remember\(\)"):
        scheme(memory=dict)
    with pytest.raises(SchemeFailed, match=r"expected it to have plan\(\) and learn\(\)"):
        GuardedScheme("mine", object())  # type: ignore[arg-type]


def test_calls_that_a_scheme_need_not_have_give_nothing() -> None:
    plain = scheme()
    assert plain.sounding(0, SEEN) == ()
    assert (plain.explain(0, None), plain.memory(0)) == ({}, {})
    assert plain.energy_queues(0, SEEN.profiles) == {}
    assert plain.energy_budgets_j(0, SEEN) == {}
    plain.remember(0, {})


def test_an_explanation_becomes_what_json_can_hold() -> None:
    given = {"a": (1, np.float64(0.5)), 7: {"inf": math.inf, "b": np.int64(3)}, "c": None}
    read = read_json(given)
    assert json.loads(json.dumps(read, allow_nan=False)) == read
    assert read == {"a": [1, 0.5], "7": {"inf": None, "b": 3}, "c": None}


def test_a_memory_keeps_infinities_tuples_and_tensors() -> None:
    given = {"a": (1, math.inf), 7: [np.float64(0.5)], "weights": {"w": torch.ones(2)}}
    read = read_memory(given)
    assert read["a"] == (1, math.inf)
    assert read[7] == [0.5]  # type: ignore[index]  # a checkpoint may have whole numbers as keys
    assert torch.equal(read["weights"]["w"], torch.ones(2))
    given["weights"]["w"].zero_()  # type: ignore[index,call-overload]  # what was read is apart
    assert torch.equal(read["weights"]["w"], torch.ones(2))


def test_a_memory_by_phases_and_kinds_of_transfers_can_be_loaded_again(tmp_path: Path) -> None:
    """Both are enumerations, whose members a checkpoint must not contain."""
    by_kind = {each.kind: each.size_bytes for each in OUTCOME.deliveries}
    memory = {"phases": dict(OUTCOME.phases_ns), "kinds": by_kind}
    torch.save(read_memory(memory), tmp_path / "memory.pt")
    assert torch.load(tmp_path / "memory.pt", weights_only=True) == memory


def test_what_a_scheme_does_to_mappings_that_it_is_given_changes_nothing_for_others() -> None:
    def spoil_observation(round: int, seen: Any) -> RoundPlan:
        seen.sounding_j.clear()
        return PipeLine().plan(round, seen)

    def spoil_outcome(outcome: Any) -> None:
        outcome.phases_ns.clear()

    seen = dataclasses.replace(SEEN, sounding_j={"c0.d0": (1.0, 2.0)})
    scheme(plan=spoil_observation).plan(3, seen)
    assert seen.sounding_j == {"c0.d0": (1.0, 2.0)}
    outcome = dataclasses.replace(OUTCOME, phases_ns=dict(OUTCOME.phases_ns))
    scheme(learn=spoil_outcome).learn(outcome)
    assert outcome.phases_ns == OUTCOME.phases_ns


def test_what_a_scheme_does_to_what_it_sees_changes_nothing_for_others() -> None:
    def spoil(round: int, seen: Any) -> RoundPlan:
        seen.profiles.clear()
        return PipeLine().plan(round, seen)

    before = dict(SEEN.profiles)
    assert scheme(plan=spoil).plan(3, SEEN).clusters == GOOD.clusters
    assert SEEN.profiles == before

    def forget(outcome: Any) -> None:
        with pytest.raises(AttributeError):
            outcome.deliveries.clear()
        with pytest.raises(AttributeError):
            outcome.computations.clear()
        outcome.abandoned[0] = "not so"
        outcome.energy_j.clear()

    scheme(learn=forget).learn(OUTCOME)
    scheme(explain=lambda outcome: forget(outcome) or {}).explain(0, OUTCOME)
    assert OUTCOME.deliveries
    assert OUTCOME.abandoned == {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        SEEN.links = ()  # type: ignore[misc]
