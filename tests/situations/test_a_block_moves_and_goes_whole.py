"""A cluster's blocks move to its other device: they go whole, and their error memory is lost."""

import lab
from format_rounds import INT8, MODEL, plan, run, sent

from collapipe_ns3.exchange import Blocks, PipelineId, Units

BLOCKS = Units(blocks=(Blocks(0, 3),))
SIZE = lab.COSTS.units_bytes


def test_the_blocks_go_whole_to_their_new_device_and_all_else_as_differences() -> None:
    *_, third, fourth = run([plan(0), plan(1), *(plan(n, swapped=True) for n in (2, 3))], fresh())
    assert sent(third)["c1.cu", "c1.d1"] == SIZE(BLOCKS)
    assert sent(third)["bs", "c1.cu"] == SIZE(BLOCKS) + SIZE(Units(embedding=True), INT8)
    assert sent(third)["bs", "c0.cu"] == SIZE(MODEL, INT8)
    assert sent(fourth)["bs", "c1.cu"] == SIZE(MODEL, INT8)


def test_the_new_device_starts_from_the_reference_of_those_that_got_differences() -> None:
    """Whole or not, both clusters begin with the same parameters, and their rows say so."""
    *_, third = run([plan(0), plan(1), plan(2, swapped=True)], fresh())
    down = [each for each in third.encodings if each.direction == "down"]
    first, second = ([each for each in down if each.cluster == n] for n in (0, 1))
    assert [each.whole for each in second] == [False, True, True, True, True]
    assert [(e.unit, e.distortion) for e in first] == [(e.unit, e.distortion) for e in second]
    assert all(each.distortion > 0 for each in first)


def test_what_the_old_device_had_not_sent_is_dropped_and_recorded() -> None:
    state = fresh()
    *_, third = run([plan(0), plan(1), plan(2, swapped=True)], state)
    dropped = {(each.cluster, each.unit) for each in third.encodings if each.dropped_error}
    assert dropped == {(1, f"block {n}") for n in range(4)}
    holders = {unsent.node for (whose, _), unsent in state.kept.unsent.items() if whose.cluster}
    assert holders == {"c1.cu", "c1.d1"}
    assert PipelineId(1, 0) in {whose for whose, _ in state.kept.unsent}


def fresh() -> lab.TrainingState:
    return lab.fresh(lab.adamw)
