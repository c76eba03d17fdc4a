"""No plan is below the floor of a round, and the floor is not far below the best plan."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import lab
import pandas as pd
import pytest
from timelines import LabCosts

from benchmarks.exchange import exchanged, main
from benchmarks.exchange_floor import Exchanged, FloorOf, NoFloor, Training
from bridge.fixed import Link
from bridge.formats import ParameterFormat
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.costs.devices import DeviceProfile, profile
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.eventgraph.timeline import HopTransfer, Timeline, build_timeline
from collapipe_ns3.nodes import SERVER, control_unit, device
from collapipe_ns3.observed import Medium, Observation
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage

#: FLOP/s of the devices of a cluster. A sequence takes a block about 4000 FLOPs ahead.
SPEEDS = (4e6, 1e6, 2e6)
BATCH = 6

#: bit/s of downlink, uplink, and sidelinks.
Rates = tuple[float, float, float]
SLOW_EXCHANGE: Rates = (2e5, 1e5, 1e6)
SLOW_SIDELINKS: Rates = (1e6, 1e6, 2e5)
SLOW_DEVICES: Rates = (1e7, 1e7, 1e7)


def node_profile(name: str, flops_per_s: float) -> DeviceProfile:
    return replace(profile("jetson-nano"), name=name, flops_per_s=flops_per_s, overhead_s=1e-4)


def observed(rates: Rates, local_steps: int, clusters: int = 2) -> Observation:
    """Clusters of equal devices under one base station, whose bands are shared."""
    down_bps, up_bps, sidelink_bps = rates
    controls = [control_unit(n) for n in range(clusters)]
    devices = tuple(tuple(device(n, k) for k in range(len(SPEEDS))) for n in range(clusters))
    profiles = {SERVER: node_profile(SERVER, 1e8)}
    media = [
        Medium("down", frozenset((SERVER, each) for each in controls), down_bps, shared=True),
        Medium("up", frozenset((each, SERVER) for each in controls), up_bps, shared=True),
    ]
    for control, names in zip(controls, devices, strict=True):
        nodes = [control, *names]
        pairs = frozenset((a, b) for a in nodes for b in nodes if a != b)
        media.append(Medium(f"sidelinks of {control}", pairs, sidelink_bps, shared=True))
        profiles[control] = node_profile(control, 4e6)
        profiles |= {
            name: node_profile(name, speed) for name, speed in zip(names, SPEEDS, strict=True)
        }
    return Observation(
        devices=devices,
        profiles=profiles,
        model=lab.COSTS,
        batch_size=BATCH,
        local_steps=local_steps,
        optimizer=OPTIMIZERS["sgd"],
        source_length=6,
        target_length=6,
        media=tuple(replace(each, densities=((1.0, 1.0),), latency_s=0.0) for each in media),
    )


def work_of(seen: Observation) -> Workload:
    return Workload.of(
        seen.model,
        batch_size=seen.batch_size,
        local_steps=seen.local_steps,
        optimizer=seen.optimizer,
        source_length=6,
        target_length=6,
    )


@dataclass(frozen=True)
class FreeParameters(LabCosts):
    """Parameters take no time."""

    def hop_transfer(
        self, src: str, receivers: tuple[str, ...], size_bytes: int, bulk: bool
    ) -> HopTransfer:
        size_bytes = 0 if bulk else size_bytes
        return super().hop_transfer(src, receivers, size_bytes, bulk)


def costs(seen: Observation, kind: type[LabCosts] = LabCosts) -> LabCosts:
    links = {
        pair: Link(int(medium.bandwidth_hz), medium=medium.name)
        for medium in seen.media
        for pair in medium.links
    }
    return kind(seen.profiles, links)


def pipelines(seen: Observation, micro_batches: Sequence[int]) -> Iterator[Pipeline]:
    """Every pipeline of a cluster, as the first cluster has it."""
    training = Training(seen, work_of(seen), 0, lab.COSTS.encoder_blocks)
    for division in training.divisions():
        first, stages = 0, list[Stage]()
        for name, count in division:
            stages.append(Stage(name, first, first + count - 1))
            first += count
        for number in micro_batches:
            for schedule in ("gpipe", "1f1b"):
                yield Pipeline(tuple(stages), number, schedule)


def everywhere(seen: Observation, pipeline: Pipeline) -> tuple[ClusterPlan, ...]:
    """This pipeline in every cluster."""
    plans = []
    for cluster, names in enumerate(seen.devices):
        stages = (replace(stage, device=names[int(stage.device[-1])]) for stage in pipeline.stages)
        plans.append(ClusterPlan(cluster, (replace(pipeline, stages=tuple(stages)),)))
    return tuple(plans)


def predicted(
    seen: Observation, pipeline: Pipeline, arrangement: Arrangement, taken: LabCosts
) -> Timeline:
    plan = RoundPlan(0, "every", everywhere(seen, pipeline))
    plan = replace(plan, exchange=arranged(plan.placements(), arrangement))
    return build_timeline(plan, work_of(seen), taken)


def first_trained_s(made: Timeline, local_steps: int) -> float:
    """When the first device of any cluster has ended its last optimizer step."""
    ends: dict[str, list[int]] = {}
    for bar in made.bars:
        if bar.what == "step" and ".d" in bar.src:
            ends.setdefault(bar.src, []).append(bar.end_ns)
    assert all(len(each) == local_steps for each in ends.values())
    return min(max(each) for each in ends.values()) / 1e9


ARRANGEMENTS = {
    "today": Arrangement(),
    "multicast": Arrangement(groups=(Group((0, 1)),), within=(0, 1)),
    "streamed": Arrangement(groups=(Group((0, 1)),), within=(0, 1), chunk_bytes=1000),
}


@pytest.mark.slow
@pytest.mark.parametrize("rates", [SLOW_EXCHANGE, SLOW_SIDELINKS, SLOW_DEVICES])
@pytest.mark.parametrize("local_steps", [1, 3])
def test_no_plan_is_below_the_floor(rates: Rates, local_steps: int) -> None:
    seen = observed(rates, local_steps)
    floors = FloorOf(seen, work_of(seen))
    floor_s = floors.of(floors.whole()).with_activations_s
    taken, best_s = costs(seen), math.inf
    for pipeline in pipelines(seen, (1, 3, 6)):
        for arrangement in ARRANGEMENTS.values():
            round_s = predicted(seen, pipeline, arrangement, taken).total_ns / 1e9
            assert round_s >= floor_s - 1e-6, (pipeline, arrangement)
            best_s = min(best_s, round_s)
    if rates == SLOW_EXCHANGE:  # as it is at the paper's scale
        assert best_s <= 1.1 * floor_s


@pytest.mark.slow
@pytest.mark.parametrize("rates", [SLOW_SIDELINKS, SLOW_DEVICES])
@pytest.mark.parametrize(("local_steps", "most"), [(1, 2.4), (2, 1.35), (4, 1.25)])
def test_the_term_of_training_is_close_to_the_best_plan(
    rates: Rates, local_steps: int, most: float
) -> None:
    """Parameters take no time, so that the whole round up to the first segment is training."""
    seen = observed(rates, local_steps, clusters=1)
    bound_s, _ = Training(seen, work_of(seen), 0, lab.COSTS.encoder_blocks).least()
    taken = costs(seen, FreeParameters)
    best_s = min(
        first_trained_s(predicted(seen, each, Arrangement(), taken), local_steps)
        for each in pipelines(seen, range(1, BATCH + 1))
    )
    assert bound_s <= best_s + 1e-6
    assert best_s <= most * bound_s


def test_a_device_gets_no_more_blocks_than_an_even_division_gives() -> None:
    seen = observed(SLOW_SIDELINKS, 3)
    work = work_of(seen)
    free, even = (FloorOf(seen, work, evenly).of(Exchanged({}, {})) for evenly in (False, True))
    assert max(count for _, count in free.segments.blocks) > 2
    assert max(count for _, count in even.segments.blocks) <= 2  # 4 blocks on 3 devices
    assert free.training_s < even.training_s


def test_the_model_goes_down_once_and_up_from_every_cluster() -> None:
    seen = observed(SLOW_EXCHANGE, 2)
    floors = FloorOf(seen, work_of(seen))
    size = lab.COSTS.parameter_bytes - lab.COSTS.last.parameter_bytes
    floor = floors.of(floors.whole())
    assert floor.down_s == pytest.approx(8 * size / 2e5)
    assert floor.up_s == pytest.approx(2 * 8 * size / 1e5)
    assert floor.total_s == pytest.approx(floor.down_s + floor.training_s + floor.up_s)
    half = floors.of(floors.whole(ParameterFormat("fp16")))
    assert half.down_s == pytest.approx(floor.down_s / 2)


def test_the_station_that_needs_the_longest_counts() -> None:
    """With an uplink of its own for each cluster, both are used at the same time."""
    seen = observed(SLOW_EXCHANGE, 2)
    down, up, *sidelinks = seen.media
    own = [replace(up, name=f"up {n}", links=frozenset([each])) for n, each in enumerate(up.links)]
    apart = replace(seen, media=(down, *own, *sidelinks))
    floors = FloorOf(apart, work_of(apart))
    assert floors.of(Exchanged({0: 100, 1: 100}, {0: 1000, 1: 3000})).up_bytes == 3000


def test_what_was_exchanged_is_what_arrived_at_control_units_and_at_the_station() -> None:
    transfers = pd.DataFrame(
        [
            ("model", "bs", "c0.cu", 60),
            ("model", "bs", "c0.cu", 40),  # another chunk
            ("model", "bs", "c1.cu", 90),
            ("model", "c0.cu", "c0.d0", 70),
            ("activation", "c0.cu", "bs", 5),
            ("parameters", "c0.d0", "c0.cu", 70),
            ("parameters", "c0.cu", "bs", 100),
            ("parameters", "c1.cu", "bs1", 90),
            ("states", "c0.d0", "c0.cu", 7),
        ],
        columns=["kind", "src", "dst", "bytes"],
    )
    assert exchanged(transfers) == Exchanged({0: 100, 1: 90}, {0: 100, 1: 90})


def test_a_radio_without_codes_has_no_floor() -> None:
    seen = observed(SLOW_EXCHANGE, 2)
    unknown = replace(seen, media=tuple(replace(each, densities=()) for each in seen.media))
    floors = FloorOf(unknown, work_of(unknown))
    with pytest.raises(NoFloor, match="no codes are known of"):
        floors.of(floors.whole())
    nothing = replace(seen, media=())
    floors = FloorOf(nothing, work_of(nothing))
    with pytest.raises(NoFloor, match=r"nothing is known of the radio between c0\.cu and bs"):
        floors.of(floors.whole())


@pytest.mark.slow
def test_the_command_compares_rounds_with_floor_baselines_and_another_campaign(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both, alone = tmp_path / "both", tmp_path / "alone"
    words = ["quickstart", "--seeds", "0-1", "--rounds", "1", "--jobs", "2"]
    words += ["--set", "training.local_steps=1"]
    assert main([*words, "--schemes", "titanic,collapipe", "--runs", str(both)]) == 0
    printed = capsys.readouterr().out
    found = re.search(r"\| first round \|(?:[^|]*\|){2} (\d\.\d+).*?\| (\d\.\d+) \|", printed)
    assert found is not None
    over, largest = map(float, found.groups())
    assert 1 < over <= largest
    assert re.search(r"\| end-to-end delay, ratio \| \d\.\d+±\S+ \| \| titanic \|", printed)
    only = [*words, "--schemes", "collapipe", "--runs", str(alone), "--beside", str(both)]
    assert main(only) == 0
    printed = capsys.readouterr().out
    assert "end-to-end delay, ratio" in printed  # over the other campaign's baseline
    assert "2 seeds; their losses are equal to the bit." in printed


def test_runs_that_are_missing_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quickstart", "--finished", "--runs", str(tmp_path)]) == 1
    assert "campaign.json" in capsys.readouterr().err
    assert main(["quickstart", "--floor", "--set", "training.mode=local_head"]) == 1
    assert "training.mode: expected end_to_end" in capsys.readouterr().err
