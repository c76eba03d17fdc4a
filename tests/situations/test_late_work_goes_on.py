"""What was late is sent in the next round from where it was cut, and enters its average."""

from __future__ import annotations

import io

import lab
import pytest
import torch

from bridge.fixed import Link
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.faults import Faults
from collapipe_ns3.learning.aggregation import Before, FederatedAveraging, PipelineResult
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, Deadline, RoundPlan, Terms

SLOW = Link(rate_bps=80_000_000)  # a byte in 100 ns
SHARES = (0.2, 0.3, 0.5)
#: Cluster 2 is by far the slowest.
BUSY_NS = {"c2.d0": 2_000_000, "bs": 1000}
HOW = {"default": SLOW, "shares": SHARES, "busy_ns": BUSY_NS}


def plan(number: int, deadline: Deadline | None, clusters: tuple[int, ...]) -> RoundPlan:
    planned = tuple(
        ClusterPlan(n, (lab.pipeline(n, (2, 2), 2, "gpipe"),) if n in clusters else ())
        for n in range(3)
    )
    return RoundPlan(number, "test", planned, terms=Terms(deadline=deadline))


def rounds(
    plans: list[RoundPlan], state: TrainingState, faults: Faults | None = None
) -> list[RoundOutcome]:
    names = [name for name in lab.nodes(plan(0, None, (0, 1, 2))) if name]
    return lab.run_rounds(plans, state, faults=faults or Faults(), spare=names, **HOW)


@pytest.fixture(scope="module")
def upload() -> tuple[int, int, int]:
    """The size of the last transfer of cluster 2 to the base station, its start and its end."""
    (whole,) = rounds([plan(0, None, (0, 1, 2))], lab.fresh(lab.adamw))
    last = [d for d in whole.deliveries if (d.src, d.dst, d.kind) == ("c2.cu", "bs", "parameters")]
    return last[-1].size_bytes, last[-1].start_ns, last[-1].end_ns


def cut_after(upload: tuple[int, int, int], count: int, **how: int) -> Deadline:
    """A deadline by which so many bytes of the upload have arrived."""
    return Deadline((upload[1] + 100 * count + 50) / 1e9, 0.5, "keep", **how)


def test_it_sends_the_missing_bytes_first_and_is_averaged_with_its_age(
    upload: tuple[int, int, int],
) -> None:
    state, count = lab.fresh(lab.adamw), 1000
    plans = [plan(0, cut_after(upload, count), (0, 1, 2)), plan(1, None, (0, 1))]
    first, second = rounds(plans, state)
    late = first.pipelines[2]
    assert (late.fate, late.weight) == ("late", 0.0)
    assert late.reason.endswith("during the upload")
    (sent,) = [d for d in second.deliveries if d.src == "c2.cu"]
    missing = upload[0] - count
    assert (sent.start_ns, sent.size_bytes, sent.end_ns) == (0, missing, 100 * missing)
    fates = [(each.cluster, each.fate, each.age) for each in second.pipelines]
    assert fates == [(0, "averaged", 0), (1, "averaged", 0), (2, "averaged", 1)]
    assert [each.weight for each in second.pipelines] == pytest.approx(SHARES)
    losses = [each.loss for each in second.pipelines]
    assert second.loss == pytest.approx(
        sum(s * loss for s, loss in zip(SHARES, losses, strict=True))
    )
    assert second.pipelines[2].end_ns == 100 * missing
    assert state.late == []
    # By hand: what cluster 2 makes of the first model, and the others of the average without it.
    alone = lab.fresh(lab.adamw)
    rounds([plan(0, None, (0, 1, 2))], alone)
    others = lab.fresh(lab.adamw)
    rounds([plan(0, None, (0, 1)), plan(1, None, (0, 1))], others)
    models = [
        dict(from_.replica(n, 0).model.averaged())
        for n, from_ in enumerate((others, others, alone))
    ]
    results = [PipelineResult(n, 0, SHARES[n], each) for n, each in enumerate(models)]
    average = FederatedAveraging().aggregate(Before(models[0], ()), results, []).parameters
    for name, tensor in state.model.averaged().items():
        assert torch.equal(tensor, average[name])


def test_a_round_in_which_only_late_work_arrives_has_its_loss(
    upload: tuple[int, int, int],
) -> None:
    plans = [plan(0, cut_after(upload, 1000), (0, 1, 2)), plan(1, None, ())]
    _, second = rounds(plans, lab.fresh(lab.adamw))
    (late,) = second.pipelines
    assert (late.fate, late.weight, late.age) == ("averaged", 1.0, 1)
    assert second.loss == late.loss > 0


def test_a_run_that_is_resumed_while_work_is_late_goes_on_to_the_bit(
    upload: tuple[int, int, int],
) -> None:
    made = plan(0, cut_after(upload, 1000), (0, 1, 2))
    state, resumed = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    rounds([made], state)
    file = io.BytesIO()
    torch.save(state.to_checkpoint(), file)
    file.seek(0)
    resumed.load_checkpoint(torch.load(file, weights_only=True))
    assert resumed.late_ages() == state.late_ages() == {2: 1}
    outcomes = [rounds([plan(1, None, (0, 1))], each)[0] for each in (state, resumed)]
    assert outcomes[0].deliveries == outcomes[1].deliveries
    assert outcomes[0].pipelines == outcomes[1].pipelines
    for name, tensor in state.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor)


def test_it_may_take_several_rounds_until_it_is_dropped(upload: tuple[int, int, int]) -> None:
    """In each next round the base station stops before a hundred bytes have arrived."""
    state = lab.fresh(lab.adamw)
    short = Deadline(10_050 / 1e9, 0.0, "keep", most_age=2)
    plans = [
        plan(0, cut_after(upload, 1000, most_age=2), (0, 1, 2)),
        *[plan(n, short, ()) for n in (1, 2, 3)],
    ]
    outcomes = rounds(plans, state)
    fates = [[(each.fate, each.age) for each in outcome.pipelines] for outcome in outcomes]
    assert fates[1:] == [[("late", 1)], [("failed", 2)], []]
    assert (
        outcomes[2].pipelines[0].reason == "dropped, as it has not arrived 2 rounds after its own"
    )
    sizes = [[d.size_bytes for d in outcome.deliveries] for outcome in outcomes[1:]]
    assert sizes == [[upload[0] - 1000], [upload[0] - 1100], []]
    assert state.late == []


def test_what_was_late_in_its_local_steps_is_dropped(upload: tuple[int, int, int]) -> None:
    state = lab.fresh(lab.adamw)
    rounds([plan(0, Deadline(3e-3, 0.5, "keep"), (0, 1, 2))], state)
    assert state.late == []


def test_it_is_lost_if_its_sender_leaves(upload: tuple[int, int, int]) -> None:
    state = lab.fresh(lab.adamw)
    plans = [plan(0, cut_after(upload, 1000), (0, 1, 2)), plan(1, None, (0, 1))]
    (first, _) = rounds(plans, lab.fresh(lab.adamw))
    gone = Faults(up={"c2.cu": lab.away((first.duration_ns + 5_000, None))})
    _, second = rounds(plans, state, gone)
    lost = second.pipelines[2]
    assert (lost.fate, lost.end_ns, lost.age) == ("failed", 5_000, 1)
    assert lost.reason.startswith("c2.cu was away")
    assert second.deliveries[0].outcome == "cut"
    assert state.late == []


def test_what_waits_for_an_earlier_part_is_sent_after_it() -> None:
    """The deadline comes while segments are gathered: all of the rest is sent in its order."""
    (whole,) = rounds([plan(0, None, (0, 1, 2))], lab.fresh(lab.adamw))
    gathered = next(d for d in whole.deliveries if (d.src, d.kind) == ("c2.d0", "parameters"))
    at_s = (gathered.start_ns + 150) / 1e9
    plans = [plan(0, Deadline(at_s, 0.5, "keep"), (0, 1, 2)), plan(1, None, (0, 1))]
    state = lab.fresh(lab.adamw)
    first, second = rounds(plans, state)
    own = [d for d in second.deliveries if d.src.startswith("c2")]
    assert {(d.src, d.dst) for d in own} == {
        ("c2.d0", "c2.cu"),
        ("c2.d1", "c2.cu"),
        ("c2.cu", "bs"),
    }
    gathered_ns = max(d.end_ns for d in own if d.dst == "c2.cu")
    assert min(d.start_ns for d in own if d.dst == "bs") >= min(d.end_ns for d in own)
    assert max(d.end_ns for d in own) > gathered_ns
    assert second.pipelines[2].fate == "averaged"
    parts = [d for d in whole.deliveries if d.kind == "parameters" and d.src.startswith("c2")]
    through = [d for d in first.deliveries if d.kind == "parameters" and d.src.startswith("c2")]
    arrived = sum(d.size_bytes - sum(b - a for a, b in d.lost) for d in through)
    assert arrived == 2  # a byte of each device
    assert sum(d.size_bytes for d in own) == sum(d.size_bytes for d in parts) - arrived


def test_its_cluster_can_have_no_pipelines_meanwhile(upload: tuple[int, int, int]) -> None:
    state = lab.fresh(lab.adamw)
    rounds([plan(0, cut_after(upload, 1000), (0, 1, 2))], state)
    with pytest.raises(ValueError, match="still on its way: cluster 2"):
        rounds([plan(1, None, (0, 2))], state)
