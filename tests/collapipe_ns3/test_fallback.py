"""Fallback pipelines against all divisions that there are, and in the cases that were decided."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import fleets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapipe_ns3.exchange import PipelineId
from collapipe_ns3.fallback import NoFallback, fallback
from collapipe_ns3.plan import ClusterPlan, Pipeline, Recovery, RoundPlan, Stage, Terms
from collapipe_ns3.prediction.memory import PlannedHosts, memory_problems, predict_memory


@dataclass(frozen=True)
class Hosts:
    """Devices with room for so many blocks, less one for each segment behind their own."""

    rooms: dict[str, int]
    block_s: dict[str, float]

    def has_room(self, pipeline: Pipeline, number: int) -> bool:
        own = pipeline.stages[number]
        behind = len(pipeline.stages) - 1 - number
        return own.blocks + behind <= self.rooms[own.device]

    def stage_s(self, pipeline: Pipeline, number: int) -> float:
        own = pipeline.stages[number]
        return own.blocks * self.block_s[own.device]


ROOMY = Hosts(dict.fromkeys("abcdxyz", 99), dict.fromkeys("abcdxyz", 1.0))


def line(*spans: tuple[str, int], **how: object) -> Pipeline:
    stages, first = [], 0
    for device, blocks in spans:
        stages.append(Stage(device, first, first + blocks - 1))
        first += blocks
    return Pipeline(tuple(stages), 2, "gpipe", **how)  # type: ignore[arg-type]


def divisions(devices: Sequence[str], blocks: int) -> Iterator[tuple[tuple[str, int], ...]]:
    for cuts in itertools.combinations(range(1, blocks), len(devices) - 1):
        ends = (0, *cuts, blocks)
        yield tuple(zip(devices, (b - a for a, b in itertools.pairwise(ends)), strict=True))


def every_line(before: Pipeline, lost: set[str], idle: Sequence[str]) -> Iterator[list[str]]:
    """The devices left, with any of the idle ones in the places of lost ones."""
    gaps = [stage.device for stage in before.stages if stage.device in lost]
    for taken in itertools.product([None, *idle], repeat=len(gaps)):
        named = [each for each in taken if each is not None]
        if len(set(named)) == len(named):
            new = dict(zip(gaps, taken, strict=True))
            found = [new.get(s.device, s.device) for s in before.stages]
            if any(found):
                yield [each for each in found if each is not None]


def holders(pipeline: Pipeline) -> list[str]:
    return [stage.device for stage in pipeline.stages for _ in range(stage.blocks)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Pipeline, set[str], Hosts, list[str]]:
    devices = "abcd"[: draw(st.integers(1, 4))]
    before = line(*((device, draw(st.integers(1, 3))) for device in devices))
    lost = draw(st.sets(st.sampled_from(devices), min_size=1))
    idle = list("xyz"[: draw(st.integers(0, 2))])
    rooms = {name: draw(st.integers(0, 8)) for name in "abcdxyz"}
    block_s = {name: float(draw(st.sampled_from([1, 2, 9]))) for name in "abcdxyz"}
    return before, lost, Hosts(rooms, block_s), idle


@settings(max_examples=300)
@given(cases())
def test_it_is_the_best_of_all_divisions(
    case: tuple[Pipeline, set[str], Hosts, list[str]],
) -> None:
    before, lost, hosts, idle = case
    blocks = sum(stage.blocks for stage in before.stages)
    had = holders(before)
    fitting = []
    for devices in every_line(before, lost, idle):
        for division in divisions(devices, blocks):
            tried = line(*division)
            numbers = range(len(tried.stages))
            if all(hosts.has_room(tried, n) for n in numbers):
                slowest_s = max(hosts.stage_s(tried, n) for n in numbers)
                moved = sum(a != b for a, b in zip(had, holders(tried), strict=True))
                fitting.append((slowest_s, moved, sum(each in idle for each in devices)))
    if not fitting:
        with pytest.raises(NoFallback):
            fallback(before, lost, hosts, idle)
        return
    found = fallback(before, lost, hosts, idle)
    numbers = range(len(found.stages))
    assert all(hosts.has_room(found, n) for n in numbers)
    used = [stage.device for stage in found.stages]
    assert used in list(every_line(before, lost, idle))
    moved = sum(a != b for a, b in zip(had, holders(found), strict=True))
    slowest_s = max(hosts.stage_s(found, n) for n in numbers)
    assert (slowest_s, moved, sum(each in idle for each in used)) == min(fitting)
    assert dataclasses.replace(found, stages=before.stages) == before


def test_of_equal_divisions_the_one_that_moves_the_fewest_blocks_is_taken() -> None:
    before = line(("a", 2), ("b", 2), ("c", 2))
    assert fallback(before, {"b"}, ROOMY) == line(("a", 3), ("c", 3))
    # However the other five blocks are divided, d is the slowest.
    slow_end = Hosts(ROOMY.rooms, ROOMY.block_s | {"d": 9.0})
    before = line(("a", 3), ("b", 1), ("c", 1), ("d", 1))
    assert fallback(before, {"b"}, slow_end) == line(("a", 4), ("c", 1), ("d", 1))
    before = line(("a", 1), ("b", 1), ("c", 3), ("d", 1))
    assert fallback(before, {"a"}, slow_end) == line(("b", 2), ("c", 3), ("d", 1))
    before = line(("a", 2), ("b", 2), ("c", 2))
    # All of a's blocks go to x at once; a and x or x and c would be as fast.
    assert fallback(before, {"a"}, ROOMY, ["x"]) == line(("x", 2), ("b", 2), ("c", 2))


def test_the_first_idle_device_is_taken_unless_another_is_faster() -> None:
    before = line(("a", 2), ("b", 2))
    assert fallback(before, {"b"}, ROOMY, ["x", "y"]) == line(("a", 2), ("x", 2))
    fast = Hosts(ROOMY.rooms, ROOMY.block_s | {"a": 0.5, "y": 0.5})
    assert fallback(before, {"b"}, fast, ["x", "y"]) == line(("a", 2), ("y", 2))


def test_recomputing_stays_with_the_place() -> None:
    before = Pipeline((Stage("a", 0, 1, recompute=True), Stage("b", 2, 3)), 2, "1f1b")
    found = fallback(before, {"a"}, ROOMY, ["x"])
    assert [(s.device, s.recompute) for s in found.stages] == [("x", True), ("b", False)]


def test_a_device_with_the_embedding_has_data_that_nobody_else_has() -> None:
    whole = line(("a", 4), share=0.5, embedding="a", decoder="a")
    with pytest.raises(NoFallback, match="a has the data of the pipeline"):
        fallback(whole, {"a"}, ROOMY, ["x"])


def test_a_lost_decoder_goes_to_the_base_station() -> None:
    before = line(("a", 2), ("b", 2), decoder="b")
    assert fallback(before, {"b"}, ROOMY) == line(("a", 4))
    kept = line(("a", 2), ("b", 2), decoder="a")
    assert fallback(kept, {"b"}, ROOMY) == line(("a", 4), decoder="a")


def test_the_message_names_who_lacks_memory_or_that_nobody_is_left() -> None:
    full = Hosts(dict.fromkeys("abx", 2), ROOMY.block_s)
    with pytest.raises(NoFallback, match=r"^a, x lack the memory for its segments$"):
        fallback(line(("a", 2), ("b", 3)), {"b"}, full, ["x"])
    with pytest.raises(NoFallback, match=r"^no device is left$"):
        fallback(line(("a", 2), ("b", 2)), {"a", "b"}, ROOMY)


def planned(
    recovery: str, memory: float, schedule: str, seed: int, *, local_head: bool = False
) -> tuple[RoundPlan, fleets.Observation]:
    seen = fleets.observation(
        np.random.default_rng(seed), devices=4, memory=memory, local_head=local_head
    )
    stages = tuple(Stage(f"c0.d{n}", 2 * n, 2 * n + 1) for n in range(3))
    pipeline = Pipeline(stages, 4, schedule)
    terms = Terms(recovery=Recovery(recovery))  # type: ignore[arg-type]
    return RoundPlan(0, "test", (ClusterPlan(0, (pipeline,)),), terms=terms), seen


@pytest.mark.parametrize("recovery", ["restart", "replicate"])
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize("local_head", [False, True])
def test_what_fits_by_the_hosts_passes_the_check_of_memory_of_plans(
    recovery: str, schedule: str, local_head: bool
) -> None:
    """Planned hosts are exact: a pipeline fits if and only if the check of plans finds nothing."""
    outcomes = set()
    for seed in range(12):
        plan, seen = planned(recovery, 0.8, schedule, seed, local_head=local_head)
        hosts = PlannedHosts.of(plan, seen, PipelineId(0, 0))
        for division in divisions(["c0.d0", "c0.d1", "c0.d2"], 6):
            tried = dataclasses.replace(
                plan.clusters[0].pipelines[0], stages=line(*division).stages
            )
            other = dataclasses.replace(plan, clusters=(ClusterPlan(0, (tried,)),))
            fits = all(hosts.has_room(tried, n) for n in range(3))
            assert fits == (not list(memory_problems(other, seen)))
            outcomes.add(fits)
    assert outcomes == {True, False}


def test_recovery_takes_memory_of_devices_and_of_the_control_unit() -> None:
    needs = {}
    for recovery in ("abandon", "restart", "replicate"):
        plan, seen = planned(recovery, 1e-9, "gpipe", 0)
        small = {
            name: dataclasses.replace(profile, memory_bytes=0)
            for name, profile in seen.profiles.items()
        }
        found = memory_problems(plan, dataclasses.replace(seen, profiles=small))
        needs[recovery] = {what.split()[0]: float(what.split()[2]) for _, what in found}
    mib = 2**20
    model = seen.model
    block, first = model.blocks[0].parameter_bytes / mib, model.first.parameter_bytes / mib
    pipeline, batch = plan.clusters[0].pipelines[0], model.longest_shape(seen.batch_size)
    control = predict_memory(model, pipeline, batch, seen.optimizer, "c0.cu")["c0.cu"] / mib
    everything = first + 6 * block  # that the control unit keeps of the global model
    assert "c0.cu" not in needs["abandon"]
    for device in ("c0.d0", "c0.d1", "c0.d2"):
        alone = needs["abandon"][device]
        # AdamW keeps two states of every parameter.
        assert needs["restart"][device] == pytest.approx(alone + 2 * 2 * block, abs=0.11)
        assert needs["replicate"][device] == pytest.approx(alone + 2 * 3 * 2 * block, abs=0.11)
    restart = control + 2 * first + everything
    assert needs["restart"]["c0.cu"] == pytest.approx(restart, abs=0.11)
    replicate = control + 6 * first + everything + 6 * 6 * block
    assert needs["replicate"]["c0.cu"] == pytest.approx(replicate, abs=0.11)
