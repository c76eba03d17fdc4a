"""A cluster misses a round: it gets the model whole in the next one, and differences after that."""

import lab
import torch
from format_rounds import INT8, MODEL, plan, run, sent

from bridge.fixed import Link

WHOLE, DIFFERENCE = lab.COSTS.units_bytes(MODEL), lab.COSTS.units_bytes(MODEL, INT8)
BROKEN = {("c1.cu", "c1.d0"): Link(lab.FAST.rate_bps, outage_ns=(0, 10**12))}


def downloads(state: lab.TrainingState, first: int, *absent: tuple[int, ...]) -> list[list[int]]:
    """Bytes that the base station sends to the clusters in rounds, each with absent clusters."""
    plans = [plan(first + n, absent=clusters) for n, clusters in enumerate(absent)]
    return [
        [sent(outcome).get(("bs", f"c{n}.cu"), 0) for n in (0, 1)] for outcome in run(plans, state)
    ]


def test_a_cluster_that_sat_out_gets_the_model_whole() -> None:
    made = downloads(lab.fresh(lab.adamw), 0, (), (), (1,), (), ())
    assert made == [
        [WHOLE, WHOLE],
        [DIFFERENCE, DIFFERENCE],
        [DIFFERENCE, 0],
        [DIFFERENCE, WHOLE],
        [DIFFERENCE, DIFFERENCE],
    ]


def test_while_all_others_sit_out_nobody_misses_anything() -> None:
    """Only a cluster of which the reference was updated without it gets the model whole."""
    made = downloads(lab.fresh(lab.adamw), 0, (), (0,), (0,), ())
    assert made == [[WHOLE, WHOLE], [0, DIFFERENCE], [0, DIFFERENCE], [WHOLE, DIFFERENCE]]


def test_an_abandoned_cluster_gets_the_model_whole_and_keeps_its_error_memory() -> None:
    """Its control unit has received the broadcast and its device has not."""
    state = lab.fresh(lab.adamw)
    run([plan(0)], state)
    before = {key: each for key, each in state.kept.unsent.items() if key[0].cluster == 1}
    (lost,) = run([plan(1)], state, BROKEN)
    assert list(lost.abandoned) == [1]
    assert {each.cluster for each in lost.encodings} == {0}
    after = {key: each for key, each in state.kept.unsent.items() if key[0].cluster == 1}
    assert len(before) == 5
    for key, unsent in before.items():
        for name, tensor in unsent.parameters.items():
            assert torch.equal(tensor, after[key].parameters[name])
    assert downloads(state, 2, (), ()) == [[DIFFERENCE, WHOLE], [DIFFERENCE, DIFFERENCE]]
