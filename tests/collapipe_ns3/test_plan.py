"""A plan survives JSON, reads well, and says everything that is wrong with it at once."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapipe_ns3.exchange import Blocks, Exchange, PipelineId, Shipment, Units
from collapipe_ns3.plan import (
    Absence,
    ClusterPlan,
    LinkPlan,
    Pipeline,
    PlanError,
    RoundPlan,
    Stage,
    Terms,
    validate,
)

DEVICES = (("c0.d0", "c0.d1", "c0.d2"), ("c1.d0", "c1.d1"))


def plan(*pipelines: Pipeline) -> RoundPlan:
    """A good plan for two clusters, six blocks and batches of 12; `pipelines` are cluster 0's."""
    first = pipelines or (
        Pipeline((Stage("c0.d0", 0, 1), Stage("c0.d1", 2, 2), Stage("c0.d2", 3, 5)), 4, "gpipe"),
    )
    second = (Pipeline((Stage("c1.d1", 0, 5),), 1, "1f1b"),)
    return RoundPlan(
        7,
        "mine",
        (ClusterPlan(0, first), ClusterPlan(1, second)),
        (LinkPlan("c0.cu", "bs", 0.2, 5e6), LinkPlan("c0.cu", "c0.d0")),
    )


def check(made: RoundPlan) -> None:
    validate(made, devices=DEVICES, blocks=6, batch_size=12, schedules=("gpipe", "1f1b"))


def problems(wrong: RoundPlan) -> list[str]:
    with pytest.raises(PlanError) as caught:
        check(wrong)
    head, *lines = str(caught.value).splitlines()
    assert head == "mine's plan for round 7 can't be executed:"
    return [line.strip() for line in lines]


def test_a_good_plan_passes() -> None:
    validate(plan(), devices=DEVICES, blocks=6, batch_size=12, schedules=("gpipe", "1f1b"))


def test_it_prints_as_one_would_write_it_down() -> None:
    assert str(plan()).splitlines() == [
        "round 7, mine",
        "  cluster 0: c0.d0[0-1] → c0.d1[2] → c0.d2[3-5], 4 micro-batches, gpipe",
        "  cluster 1: c1.d1[0-5], 1 micro-batch, 1f1b",
        "  c0.cu → bs: 23.0 dBm 5.00 MHz",
        "  c0.cu → c0.d0: as the radio has it",
    ]


def test_links_that_are_given_the_same_are_printed_once() -> None:
    links = [LinkPlan(f"c0.d{n}", "c0.cu", 0.1) for n in range(3)]
    some = RoundPlan(0, "mine", (), (*links, LinkPlan("c0.cu", "bs", 0.2)))
    assert str(some).splitlines()[1:] == ["  3 links: 20.0 dBm", "  c0.cu → bs: 23.0 dBm"]


def test_recomputation_is_printed_where_it_is_set() -> None:
    two = Pipeline((Stage("c0.d0", 0, 2), Stage("c0.d1", 3, 5, recompute=True)), 2, "gpipe")
    assert str(two) == "c0.d0[0-2] → c0.d1[3-5, recomputed], 2 micro-batches, gpipe"
    one, other = plan(two).to_json()["clusters"][0]["pipelines"][0]["stages"]
    assert one == {"device": "c0.d0", "first": 0, "last": 2}
    assert other == {"device": "c0.d1", "first": 3, "last": 5, "recompute": True}


def test_shares_are_printed_where_they_matter() -> None:
    half = Pipeline((Stage("c0.d0", 0, 5),), 2, "gpipe", 0.5)
    assert str(half) == "c0.d0[0-5], 2 micro-batches, gpipe, 50% of the data"


names = st.text(min_size=1, max_size=8)
stages = st.builds(Stage, names, st.integers(0, 9), st.integers(0, 9), st.booleans())
pipelines = st.builds(
    Pipeline,
    st.lists(stages, max_size=3).map(tuple),
    st.integers(1, 64),
    st.sampled_from(["gpipe", "1f1b"]),
    st.floats(0, 1),
    st.none() | names,
    st.none() | names,
)
powers = st.none() | st.floats(1e-6, 10)
runs = st.builds(Blocks, st.integers(0, 9), st.integers(0, 9))
pipeline_ids = st.lists(st.builds(PipelineId, st.integers(0, 9), st.integers(0, 9))).map(tuple)
several_names = st.lists(names, max_size=3).map(tuple)
shipments = st.builds(
    Shipment,
    names,
    st.builds(Units, st.booleans(), st.lists(runs, max_size=2).map(tuple), st.booleans()),
    names,
    several_names,
    pipeline_ids,
    st.booleans(),
    several_names,
    pipeline_ids,
)
plans = st.builds(
    RoundPlan,
    st.integers(0, 999),
    names,
    st.lists(
        st.builds(ClusterPlan, st.integers(0, 9), st.lists(pipelines, max_size=3).map(tuple)),
        max_size=3,
    ).map(tuple),
    st.lists(st.builds(LinkPlan, names, names, powers, powers), max_size=3).map(tuple),
    st.lists(st.builds(Absence, st.integers(0, 9), names, names), max_size=2).map(tuple),
    st.builds(Terms, st.integers(0, 9), st.floats(0, 99)),
    st.none() | st.builds(Exchange, st.lists(shipments, max_size=3).map(tuple)),
)


@given(plans)
def test_json_brings_back_the_same_plan(written: RoundPlan) -> None:
    assert RoundPlan.from_json(json.loads(json.dumps(written.to_json()))) == written


def test_a_plan_from_before_there_were_terms_has_the_default() -> None:
    written = plan().to_json()
    assert written.pop("terms") == {"resends": 2, "resend_after_s": 1.0}
    assert RoundPlan.from_json(json.loads(json.dumps(written))) == plan()


@pytest.mark.parametrize(
    ("terms", "printed"),
    [
        (Terms(0), "failed transfers are not sent again"),
        (Terms(1), "failed transfers are sent again once, after 1 s"),
        (Terms(2, 0.5), "failed transfers are sent again up to 2 times, after 0.5 s"),
    ],
)
def test_terms_are_printed_where_they_are_not_the_default(terms: Terms, printed: str) -> None:
    usual = str(plan()).splitlines()
    lines = str(dataclasses.replace(plan(), terms=terms)).splitlines()
    assert [line for line in lines if line not in usual] == [f"  {printed}"]
    assert "transfers" not in str(plan())


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        (Terms(-1), "expected 0 to 1000 resends, not -1"),
        (Terms(1001), "expected 0 to 1000 resends, not 1001"),
        (Terms(2, -0.1), "expected a pause of 0 to 3600 s before a resend, not -0.1 s"),
        (Terms(2, 4000.0), "expected a pause of 0 to 3600 s before a resend, not 4000 s"),
        (Terms(2, math.nan), "expected a pause of 0 to 3600 s before a resend, not nan s"),
    ],
)
def test_terms_are_within_bounds(terms: Terms, problem: str) -> None:
    assert problems(dataclasses.replace(plan(), terms=terms)) == [f"terms: {problem}"]


@pytest.mark.parametrize("terms", [Terms(0, 0.0), Terms(1000, 3600.0)])
def test_the_bounds_of_terms_are_allowed(terms: Terms) -> None:
    check(dataclasses.replace(plan(), terms=terms))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 300))
def test_pipelines_take_each_batch_whole_and_by_their_shares(
    weights: list[int], batch_size: int
) -> None:
    shares = [weight / sum(weights) for weight in weights]
    pipes = tuple(Pipeline((Stage("c0.d0", 0, 5),), 1, "gpipe", share) for share in shares)
    taken = ClusterPlan(0, pipes).sequences(batch_size)
    assert sum(taken) == batch_size
    assert all(abs(n - share * batch_size) < 1 for n, share in zip(taken, shares, strict=True))


@given(st.permutations([0, 1, 2, 3, 4, 5]), st.integers(1, 5))
def test_blocks_are_placed_in_order_and_each_once(order: list[int], cut: int) -> None:
    # Any two segments of a permutation: only the one in order with a true cut is a pipeline.
    ends = (Stage("c0.d0", order[0], order[cut - 1]), Stage("c0.d1", order[cut], order[-1]))
    covered = [b for stage in ends for b in range(stage.first, stage.last + 1)]
    candidate = plan(Pipeline(ends, 4, "gpipe"))
    if covered == [0, 1, 2, 3, 4, 5] and all(stage.blocks > 0 for stage in ends):
        validate(candidate, devices=DEVICES, blocks=6, batch_size=12, schedules=("gpipe", "1f1b"))
    else:
        (line,) = problems(candidate)
        assert line.startswith("cluster 0: expected blocks 0 to 5 in order, each once")


def test_every_problem_is_listed_at_once_with_its_place() -> None:
    wrong = RoundPlan(
        7,
        "mine",
        (
            ClusterPlan(
                0,
                (
                    Pipeline((Stage("c0.d0", 0, 3), Stage("c0.d0", 4, 5)), 7, "gpipe", 0.5),
                    Pipeline((Stage("c9.d9", 0, 4),), 0, "zigzag", 0.25),
                ),
            ),
            ClusterPlan(2, ()),
        ),
    )
    assert problems(wrong) == [
        "cluster 1: expected one plan, not 0",
        "cluster 0: expected the pipelines' shares to add to 1, not 0.75",
        "cluster 0: c0.d0 is used 2 times",
        "cluster 0: c9.d9 is none of its devices",
        "cluster 0: expected 1 to 6 micro-batches of 6 sequences, not 7",
        "cluster 0: expected blocks 0 to 5 in order, each once, not "
        "c9.d9[0-4], 0 micro-batches, zigzag, 25% of the data",
        "cluster 0: expected 1 to 3 micro-batches of 3 sequences, not 0",
        "cluster 0: unknown schedule zigzag; there are gpipe, 1f1b",
        "cluster 2: there are 2 clusters",
    ]


def granted(*links: LinkPlan) -> RoundPlan:
    return dataclasses.replace(plan(), links=links)


def test_a_grant_can_name_the_receivers_of_a_multicast() -> None:
    group = LinkPlan("bs", "c0.cu+c1.cu", 0.5, 5e6)
    check(granted(group, LinkPlan("bs", "c0.cu", 0.5, 5e6)))
    assert group.receivers == ("c0.cu", "c1.cu")
    assert "  bs → c0.cu+c1.cu: 27.0 dBm 5.00 MHz" in str(granted(group)).splitlines()


@pytest.mark.parametrize(
    ("dst", "problem"),
    [
        ("c1.cu+c0.cu", "expected each receiver of a group once, in order of names: c0.cu+c1.cu"),
        ("c0.cu+c0.cu", "expected each receiver of a group once, in order of names: c0.cu"),
        ("c0.cu+c7.cu", "there is no node c7.cu"),
        ("c0.cu+", "there is no node "),
    ],
)
def test_a_group_has_one_name(dst: str, problem: str) -> None:
    assert problems(granted(LinkPlan("bs", dst, 0.5, 5e6))) == [f"bs → {dst}: {problem}".strip()]
