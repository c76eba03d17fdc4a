"""Who can take part in a round: against the definition, at every instant of short histories."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from collapipe_ns3.attendance import absent_nodes, can_take_part, next_return_ns
from collapipe_ns3.faults import Faults, Steps

DEVICES = (("c0.d0", "c0.d1"), ("c1.d0",))
NODES = ("bs", "c0.cu", "c0.d0", "c0.d1", "c1.cu", "c1.d0")
PAIRS = (("c0.cu", "c0.d0"), ("c0.d1", "c0.cu"), ("bs", "c1.cu"), ("c1.cu", "bs"))
END = 30


def steps(times: Sequence[int]) -> Steps:
    """Up until the first instant, away until the second, and so on."""
    ordered = tuple(sorted(set(times)))
    return Steps(1.0, ordered, tuple(float(n % 2) for n in range(len(ordered))))


histories = st.lists(st.integers(0, END - 1), max_size=5).map(steps)
cases = st.builds(
    Faults,
    up=st.dictionaries(st.sampled_from(NODES), histories),
    links=st.dictionaries(st.sampled_from(PAIRS), histories),
    on_outage=st.sampled_from(("wait", "fail")),
)


def is_able(faults: Faults, control: str, device: str, now: int) -> bool:
    """By the definition: both are there and, where outages matter, all links on the way are."""
    usable = faults.on_outage == "wait" or all(
        faults.is_usable(*pair, now)
        for one, other in ((device, control), (control, "bs"))
        for pair in ((one, other), (other, one))
    )
    return faults.is_up(control, now) and faults.is_up(device, now) and usable


@given(cases)
@settings(max_examples=300, deadline=None)
def test_who_is_absent_and_when_the_next_device_returns(faults: Faults) -> None:
    pairs = [(f"c{n}.cu", name) for n, names in enumerate(DEVICES) for name in names]
    able = [{pair for pair in pairs if is_able(faults, *pair, now)} for now in range(END + 1)]
    for now in range(END):
        absent = absent_nodes(faults, DEVICES, now)
        there = {pair for pair in pairs if not absent.keys() & {*pair}}
        assert there == able[now]
        assert can_take_part(DEVICES, absent) == bool(able[now])
        later = [n for n in range(now + 1, END + 1) if able[n] - able[now]]
        assert next_return_ns(faults, DEVICES, now) == (later[0] if later else None)


def test_reasons_name_the_node_or_the_link() -> None:
    gone = Steps(0.0)
    faults = Faults(
        up={"c0.d1": gone},
        links={("bs", "c1.cu"): gone, ("c0.d0", "c0.d1"): gone},
        on_outage="fail",
    )
    assert absent_nodes(faults, DEVICES, 0) == {
        "c0.d1": "c0.d1 is away",
        "c1.cu": "the link between c1.cu and bs is out",
    }
    assert absent_nodes(Faults(up={"c0.d1": gone}, links=faults.links), DEVICES, 0) == {
        "c0.d1": "c0.d1 is away"
    }
