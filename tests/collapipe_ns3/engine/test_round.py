"""The federated round: averaging, what moves, what is kept, what it costs."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import lab
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bridge.fixed import Link
from collapipe_ns3.costs.power import EnergyModel
from collapipe_ns3.engine.site import ComputationFailed
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.faults import Faults
from collapipe_ns3.learning.aggregation import (
    AVERAGE_FLOPS,
    Aggregate,
    Before,
    FederatedAveraging,
    PipelineFailure,
    PipelineResult,
    ServerFlops,
)
from collapipe_ns3.learning.models.transformer import TranslationModel
from collapipe_ns3.plan import Absence, ClusterPlan, LinkPlan, Pipeline, RoundPlan, Stage
from collapipe_ns3.schedule import schedule_of

TWO = RoundPlan(
    0,
    "test",
    (
        ClusterPlan(0, (lab.pipeline(0, (2, 2), 3, "gpipe"),)),
        ClusterPlan(1, (lab.pipeline(1, (1, 3), 4, "1f1b"),)),
    ),
)


def average(models: Sequence[tuple[float, TranslationModel]]) -> Mapping[str, Tensor]:
    """Federated averaging of models with these weights."""
    results = [
        PipelineResult(0, index, weight, model.state_dict())
        for index, (weight, model) in enumerate(models)
    ]
    before = Before(models[0][1].state_dict(), ())
    return FederatedAveraging().aggregate(before, results, []).parameters


@settings(max_examples=20)
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=4))
def test_the_average_of_constant_models_is_the_weighted_mean(weights: list[float]) -> None:
    models = []
    for value in range(len(weights)):
        model = lab.model()
        for parameter in model.parameters():
            torch.nn.init.constant_(parameter, value)
        models.append((weights[value], model))
    mean = sum(w * value for value, w in enumerate(weights)) / sum(weights)
    for tensor in average(models).values():
        torch.testing.assert_close(tensor, torch.full_like(tensor, mean))


def test_a_round_is_the_weighted_mean_of_what_each_cluster_trains_alone() -> None:
    shares = (0.2, 0.8)
    together = lab.fresh(lab.adamw)
    outcome = lab.run_one(TWO, together, local_steps=2, shares=shares)
    alone, losses = [], []
    for cluster in TWO.clusters:
        state = lab.fresh(lab.adamw)
        only = RoundPlan(0, "test", (cluster,))
        losses.append(lab.run_one(only, state, local_steps=2, shares=shares).loss)
        alone.append(state.model.state_dict())
    assert outcome.loss == pytest.approx(0.2 * losses[0] + 0.8 * losses[1], rel=1e-12)
    for name, tensor in together.model.state_dict().items():
        torch.testing.assert_close(tensor, 0.2 * alone[0][name] + 0.8 * alone[1][name])


def test_one_cluster_of_weight_one_is_left_as_it_is() -> None:
    model = lab.model()
    same = average([(0.3, model)])
    assert all(torch.equal(same[name], tensor) for name, tensor in model.state_dict().items())


def test_optimizer_states_follow_a_block_that_moves() -> None:
    """Block 1 moves from the first device to the second, whose state goes by the control unit."""
    state = lab.fresh(lab.adamw)
    plans = [lab.one_cluster((2, 2), 2), lab.one_cluster((1, 3), 2)]
    first, second = lab.run_rounds(plans, state)
    block = sum(p.numel() for p in state.model.blocks[1].parameters())
    tensors = len(list(state.model.blocks[1].parameters()))
    # Two moments a parameter, and each tensor's count of steps, all fp32.
    size = 4 * (2 * block + tensors)
    hops = [("c0.d0", "c0.cu"), ("c0.cu", "c0.d1")]

    def moved(outcome: lab.RoundOutcome) -> list[tuple[str, str]]:
        begun_ns = outcome.start_ns + outcome.phases_ns["broadcast"]
        return [
            (d.src, d.dst)
            for d in outcome.deliveries
            if d.kind == "parameters" and d.size_bytes == size and d.end_ns <= begun_ns
        ]

    assert moved(first) == []
    assert moved(second) == hops
    (again,) = lab.run_rounds([plans[1]], state)
    assert moved(again) == []


def test_optimizer_states_on_an_absent_device_are_lost() -> None:
    """Its blocks start with new states on the next device, and nothing is sent from it."""
    alone = ClusterPlan(0, (Pipeline((Stage("c0.d1", 0, 3),), 2, "gpipe"),))
    absent = RoundPlan(1, "test", (alone,), absences=(Absence(0, "c0.d0", "out of reach"),))
    state = lab.fresh(lab.adamw)
    plans = [lab.one_cluster((2, 2), 2), absent]
    _, second = lab.run_rounds(plans, state)
    assert {d.src for d in second.deliveries} == {"bs", "c0.cu", "c0.d1"}


def test_a_run_goes_on_from_a_checkpoint_as_if_it_had_never_stopped() -> None:
    plans = [dataclasses.replace(TWO, round=number) for number in range(3)]
    whole, parted = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    expected = lab.run_rounds(plans, whole, shares=(0.5, 0.5))
    lab.run_rounds(plans[:2], parted, shares=(0.5, 0.5))
    kept = copy.deepcopy(parted.to_checkpoint())
    taken_up = TrainingState(lab.model(), lab.adamw, lab.COSTS)
    taken_up.load_checkpoint(kept)
    (last,) = lab.run_rounds(plans[2:], taken_up, shares=(0.5, 0.5))
    assert last.loss == expected[2].loss
    assert last.deliveries == expected[2].deliveries
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, taken_up.model.state_dict()[name])


def rows(outcome: lab.RoundOutcome) -> tuple[object, ...]:
    """All that a round leaves, wall-clock times aside."""
    computations = [dataclasses.replace(done, wall_s=0.0) for done in outcome.computations]
    return outcome.deliveries, computations, outcome.devices, outcome.loss


def test_a_round_is_the_same_again_and_under_the_name_of_any_scheme() -> None:
    expected = rows(lab.run_one(TWO, shares=(0.5, 0.5)))
    assert all(expected)
    for scheme in ("test", "pipeline", "titanic", "vanilla_fl"):
        plan = dataclasses.replace(TWO, scheme=scheme)
        assert rows(lab.run_one(plan, shares=(0.5, 0.5))) == expected


def test_an_error_in_the_torch_thread_ends_the_round() -> None:
    class Failing(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            raise ArithmeticError("the third unit")

    made = [0]

    def optimizer(parameters: Iterator[torch.nn.Parameter]) -> torch.optim.Optimizer:
        made[0] += 1
        return (Failing if made[0] == 3 else torch.optim.SGD)(parameters, lr=0.1)

    with pytest.raises(ExceptionGroup) as raised:
        lab.run_one(lab.one_cluster((2, 2), 3, "1f1b"), lab.fresh(optimizer))
    assert raised.group_contains(ComputationFailed, match="ArithmeticError: the third unit")


@settings(max_examples=15)
@given(st.lists(st.integers(10**5, 10**10), min_size=8, max_size=8), st.integers(0, 10**8))
def test_bytes_and_time_are_conserved_whatever_the_links_and_an_outage(
    rates: list[int], outage_ns: int
) -> None:
    pairs = [("c0.cu", "c0.d0"), ("c0.d0", "c0.d1"), ("c0.d1", "c0.cu"), ("c0.cu", "bs")]
    pairs += [(dst, src) for src, dst in pairs]
    links = {
        pair: Link(rate, outage_ns=(outage_ns, outage_ns + 10**6))
        for pair, rate in zip(pairs, rates, strict=True)
    }
    outcome = lab.run_one(lab.one_cluster((2, 2), 3, "1f1b"), links=links)  # checks the rows
    kinds = {delivery.kind for delivery in outcome.deliveries}
    assert kinds == {"model", "labels", "activation", "gradient", "parameters"} or outcome.abandoned


def test_energy_is_power_times_time_on_the_processor_and_on_air() -> None:
    outcome = lab.run_one(lab.one_cluster((2, 2), 2))
    assert {use.device for use in outcome.devices} == {"bs", "c0.cu", "c0.d0", "c0.d1"}
    for use in outcome.devices:
        busy_ns = sum(d.end_ns - d.start_ns for d in outcome.computations if d.node == use.device)
        assert use.compute_energy_j == pytest.approx(5.0 * busy_ns / 1e9)
        sent_s = sum(d.airtime_s for d in outcome.deliveries if d.src == use.device)
        heard_s = sum(d.airtime_s for d in outcome.deliveries if d.dst == use.device)
        assert use.tx_energy_j == pytest.approx(0.1 * sent_s)
        assert use.rx_energy_j == pytest.approx(0.05 * heard_s)
        assert use.radio_energy_j == use.tx_energy_j + use.rx_energy_j > 0
    assert outcome.total_energy_j == pytest.approx(sum(outcome.energy_j.values()))


def test_energy_at_the_socket_is_the_power_of_each_state_times_its_time() -> None:
    """The board: 5 W while it computes, else 2 W. The radio: 0.5 W and 0.1 W / 0.2 while it sends,
    0.3 W while it receives, else 0.25 W."""
    outcome = lab.run_one(lab.one_cluster((2, 2), 2), energy=EnergyModel("socket"))
    lasting_s = outcome.duration_ns / 1e9
    for use in outcome.devices:
        busy_s = sum(d.end_ns - d.start_ns for d in outcome.computations if d.node == use.device)
        busy_s /= 1e9
        sent_s = sum(d.airtime_s for d in outcome.deliveries if d.src == use.device)
        heard_s = sum(d.airtime_s for d in outcome.deliveries if d.dst == use.device)
        board_j = 5.0 * busy_s + 2.0 * (lasting_s - busy_s)
        radio_j = 1.0 * sent_s + 0.3 * heard_s + 0.25 * (lasting_s - sent_s - heard_s)
        assert use.energy_j == pytest.approx(board_j + radio_j)
        assert use.idle_energy_j == pytest.approx(2.25 * lasting_s)
        parts = (use.compute_energy_j, use.tx_energy_j, use.rx_energy_j, use.idle_energy_j)
        assert use.energy_j == pytest.approx(sum(parts), rel=1e-12)
        assert min(parts) > 0


def test_a_node_that_is_away_takes_nothing_and_a_station_without_radio_its_boards_power() -> None:
    """One device has no part in the plan; radios take 0.25 W at rest, boards 2 W."""
    plan = RoundPlan(
        0, "test", lab.one_cluster((2, 2), 2).clusters, (LinkPlan("c0.cu", "c0.d2", 0.1),)
    )
    whole = lab.run_one(plan, energy=EnergyModel("socket"))
    third_ns = whole.duration_ns // 3
    faults = Faults({"c0.d2": lab.away((third_ns, 2 * third_ns)), "bs": lab.away((0, third_ns))})
    outcome = lab.run_one(plan, energy=EnergyModel("socket"), faults=faults)
    uses = {use.device: use for use in outcome.devices}
    lasting_s, third_s = outcome.duration_ns / 1e9, third_ns / 1e9
    assert uses["c0.d0"].idle_energy_j == pytest.approx(2.25 * lasting_s)
    assert uses["c0.d2"].energy_j == pytest.approx(2.25 * (lasting_s - third_s))
    assert uses["bs"].idle_energy_j == pytest.approx(2.25 * lasting_s - 0.25 * third_s)


def test_who_holds_nothing_and_relays_has_a_row_and_its_energy() -> None:
    """Under VanillaFL control unit and base station pass models on; the last device is idle."""
    alone = [
        Pipeline((Stage(f"c0.d{k}", 0, 3),), 1, "gpipe", 0.5, f"c0.d{k}", f"c0.d{k}")
        for k in range(2)
    ]
    idle = LinkPlan("c0.cu", "c0.d2", 0.1)
    outcome = lab.run_one(RoundPlan(0, "test", (ClusterPlan(0, tuple(alone)),), (idle,)))
    uses = {use.device: use for use in outcome.devices}
    assert list(uses) == ["c0.cu", "c0.d0", "c0.d1", "c0.d2", "bs"]
    assert [use.cluster for use in uses.values()] == [0, 0, 0, 0, -1]
    on_air_s = sum(delivery.airtime_s for delivery in outcome.deliveries)
    radio_j = sum(use.radio_energy_j for use in uses.values())
    assert radio_j == pytest.approx((0.1 + 0.05) * on_air_s)
    assert uses["c0.cu"].radio_energy_j > uses["c0.d0"].radio_energy_j > 0
    assert uses["bs"].radio_energy_j > 0
    assert uses["c0.d2"].radio_energy_j == 0


def test_gpipe_keeps_every_micro_batch_and_1f1b_only_those_ahead() -> None:
    """The first of two devices is stage 1 of 4: 1F1B keeps 3 micro-batches there, GPipe all 6."""
    uses = {
        schedule: lab.run_one(lab.one_cluster((2, 2), 6, schedule)).devices
        for schedule in ("gpipe", "1f1b")
    }
    weights = 2 * sum(4 * p.numel() for p in lab.model().blocks[:2].parameters())
    saved = {s: use[1].peak_memory_bytes - weights for s, use in uses.items()}
    assert [use[1].device for use in uses.values()] == ["c0.d0", "c0.d0"]
    assert saved["gpipe"] == 2 * saved["1f1b"] > 0


def test_pipelines_of_a_cluster_share_each_of_its_batches() -> None:
    """Parts of 8 and 4 sequences; together they have the whole batch's gradient."""
    first, second = (
        dataclasses.replace(lab.pipeline(0, (4,), 1, "gpipe"), share=share)
        for share in (2 / 3, 1 / 3)
    )
    other = dataclasses.replace(second.stages[0], device="c0.d1")
    pipelines = (first, dataclasses.replace(second, stages=(other,)))
    recording = lab.Recording()
    state = lab.fresh(recording)
    lab.run_one(RoundPlan(0, "test", (ClusterPlan(0, pipelines),)), state)
    batch = next(lab.batches(0, 0))
    for index, part in enumerate((batch.part(0, 8), batch.part(8, 12))):
        model = lab.model()
        model.uncut_loss(part).backward()
        taken = recording.by_name(state.replica(0, index).model)
        for name, parameter in model.named_parameters():
            assert torch.equal(taken[name][0], parameter.grad), name


def whole_models(devices: int) -> RoundPlan:
    """Federated averaging: every device has all of the model."""
    pipelines = tuple(
        Pipeline((Stage(node, 0, 3),), 1, "gpipe", 1 / devices, embedding=node, decoder=node)
        for node in (f"c0.d{k}" for k in range(devices))
    )
    return RoundPlan(0, "test", (ClusterPlan(0, pipelines),))


def test_a_model_that_is_whole_on_each_device_travels_whole_and_nothing_else_does() -> None:
    outcome = lab.run_one(whole_models(3), local_steps=2)
    size = sum(4 * p.numel() for p in lab.model().parameters())
    assert {d.kind for d in outcome.deliveries} == {"model", "parameters"}
    assert {d.size_bytes for d in outcome.deliveries} == {size}
    hops = [("bs", "c0.cu"), ("c0.cu", "c0.d{}"), ("c0.d{}", "c0.cu"), ("c0.cu", "bs")]
    expected = [(a.format(k), b.format(k)) for k in range(3) for a, b in hops]
    assert sorted((d.src, d.dst) for d in outcome.deliveries) == sorted(expected)
    uses = {use.device: use for use in outcome.devices}
    assert all(uses[f"c0.d{k}"].peak_memory_bytes > 2 * size for k in range(3))


def test_whole_models_train_as_plain_federated_averaging_does() -> None:
    state = lab.fresh(lab.Recording())
    lab.run_one(whole_models(2), state)
    batch = next(lab.batches(0, 0))
    models = []
    for part in (batch.part(0, 6), batch.part(6, 12)):
        model = lab.model()
        model.uncut_loss(part).backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        models.append((0.5, model))
    for name, tensor in average(models).items():
        assert torch.equal(tensor, state.model.state_dict()[name])


def test_all_on_the_base_station_needs_no_network() -> None:
    central = Pipeline((Stage("bs", 0, 3),), 2, "gpipe", embedding="bs", decoder="bs")
    outcome = lab.run_one(RoundPlan(0, "test", (ClusterPlan(0, (central,)),)), local_steps=2)
    assert outcome.deliveries == []
    assert outcome.phases_ns["broadcast"] == outcome.phases_ns["upload"] == 0
    assert outcome.phases_ns["pipeline"] > 0


def test_a_schedule_is_known_before_anything_is_built() -> None:
    table = schedule_of(lab.pipeline(0, (1, 1, 2), 3, "1f1b"))
    assert len(table) == 5
    assert str(table[4][-1]) == "4SEND_B2"


@dataclass
class TakesTheFirst:
    """An aggregator that keeps what it was given, and takes the first result as it is."""

    given: list[tuple[Sequence[PipelineResult], Sequence[PipelineFailure]]] = field(
        default_factory=list
    )
    flops: ServerFlops = AVERAGE_FLOPS

    def aggregate(
        self,
        before: Before,
        results: Sequence[PipelineResult],
        failures: Sequence[PipelineFailure],
    ) -> Aggregate:
        self.given.append((results, failures))
        return Aggregate(results[0].parameters, [1.0, *(0.0 for _ in results[1:])])


def test_another_aggregator_gets_results_and_failures_and_says_the_weights() -> None:
    unreachable = {("c0.cu", "c0.d1"): Link(lab.FAST.rate_bps, outage_ns=(0, 10**12))}
    aggregator, state = TakesTheFirst(), lab.fresh(lab.adamw)
    outcome = lab.run_one(whole_models(3), state, links=unreachable, aggregator=aggregator)
    ((results, failures),) = aggregator.given
    assert [(each.cluster, each.pipeline) for each in results] == [(0, 0), (0, 2)]
    assert [each.weight for each in results] == [1 / 3, 1 / 3]
    (failed,) = failures
    assert (failed.cluster, failed.pipeline, failed.weight) == (0, 1, 1 / 3)
    assert failed.reason == outcome.pipelines[1].reason
    assert [each.weight for each in outcome.pipelines] == [1.0, 0.0, 0.0]
    for name, tensor in state.replica(0, 0).model.state_dict().items():
        assert torch.equal(tensor, state.model.state_dict()[name])


def test_a_cluster_without_pipelines_sits_out_with_its_reasons() -> None:
    absences = (Absence(1, "c1.d0", "no memory"), Absence(1, "c1.d1", "out of reach"))
    plan = RoundPlan(0, "test", (TWO.clusters[0], ClusterPlan(1, ())), absences=absences)
    outcome = lab.run_one(plan, shares=(0.5, 0.5))
    assert outcome.sat_out == {1: "c1.d0 sits out: no memory; c1.d1 sits out: out of reach"}
    assert [each.cluster for each in outcome.pipelines] == [0]
    assert outcome.abandoned == {}
    assert lab.run_one(TWO, shares=(0.5, 0.5)).sat_out == {}
