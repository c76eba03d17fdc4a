"""Checked attributes against ns-3 itself: exactly those that ns-3 accepts pass."""

import functools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ns3_scenarios import runtime
from ns3_scenarios.runtime import BadValue, UnknownName


@pytest.fixture(autouse=True)
def _fresh_simulation() -> None:
    runtime.reset(seed=1, run=1)


def initial(type_name: str, name: str) -> str:
    """An attribute's initial value in ns-3."""
    ns = runtime.load()
    tid = ns.TypeId.LookupByName(type_name)
    for index in range(tid.GetAttributeN()):
        information = tid.GetAttribute(index)
        if str(information.name) == name:
            return str(information.initialValue.SerializeToString(information.checker))
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("ns3::TcpSocket::SegmentSize", 1400, "1400"),
        ("ns3::TcpSocket::SndBufSize", "4000000", "4000000"),
        ("ns3::TcpSocket::ConnTimeout", "250ms", "+2.5e+08ns"),
        ("ns3::TcpSocketBase::UseEcn", False, "Off"),
        ("ns3::TcpSocketBase::Sack", False, "false"),
        ("ns3::TcpL4Protocol::SocketType", "ns3::TcpLinuxReno", "ns3::TcpLinuxReno"),
        ("ns3::LteRlcUm::MaxTxBufferSize", 10_000_000, "10000000"),
        ("ns3::LogDistancePropagationLossModel::Exponent", 3.5, "3.5"),
        ("ns3::PointToPointNetDevice::DataRate", "10Mbps", "10000000bps"),
        ("ns3::DropTailQueue<Packet>::MaxSize", "50p", "50p"),
    ],
)
def test_a_default_reaches_ns3(path: str, value: object, text: str) -> None:
    runtime.set_default(path, value)
    assert initial(*_split(path)) == text


def _split(path: str) -> tuple[str, str]:
    type_name, _, name = path.rpartition("::")
    return type_name, name


def test_a_default_ends_with_the_simulation() -> None:
    before = initial("ns3::TcpSocket", "SegmentSize")
    runtime.set_default("ns3::TcpSocket::SegmentSize", 99)
    assert initial("ns3::TcpSocket", "SegmentSize") == "99"
    runtime.reset(seed=1, run=2)
    assert initial("ns3::TcpSocket", "SegmentSize") == before


@pytest.mark.parametrize(
    ("path", "likest"),
    [
        ("ns3::TcpSocket::SegmentSiz", "SegmentSize"),
        ("ns3::TcpSockt::SegmentSize", "ns3::TcpSocket"),
        ("TcpSocket::SegmentSize", "ns3::TcpSocket"),
        ("ns3::TcpSocketBase::SegmentSize", "ns3::TcpSocket::SegmentSize"),  # it is inherited
    ],
)
def test_an_unknown_name_comes_with_the_nearest(path: str, likest: str) -> None:
    with pytest.raises(UnknownName) as caught:
        runtime.set_default(path, 1)
    assert caught.value.nearest[0] == likest
    assert repr(likest) in str(caught.value)


@pytest.mark.parametrize("path", ["", "::", "nonsense", "ns3::TcpSocket", "ns3::TcpSocket::"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises((UnknownName, BadValue)):
        runtime.set_default(path, 1)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ns3::TcpSocket::SegmentSize", 2**32),
        ("ns3::Ipv4L3Protocol::DefaultTtl", 256),
        ("ns3::HeConfiguration::GuardInterval", "100ns"),  # out of the checker's own range
        ("ns3::HeConfiguration::GuardInterval", "3201ns"),
        ("ns3::RateErrorModel::ErrorRate", "12 apples"),
        ("ns3::TcpL4Protocol::SocketType", "ns3::TcpPrrRecovery"),  # a type, of another family
        ("ns3::TcpL4Protocol::SocketType", "ns3::Nope"),
        ("ns3::ArpL3Protocol::RequestJitter", "ns3::UniformRandomVariable[Min=0|Max=1]"),
        ("ns3::IpL4Protocol::ProtocolNumber", 3),  # can't be set at all
    ],
)
def test_a_value_that_ns3_would_die_of_is_refused(path: str, value: object) -> None:
    with pytest.raises(BadValue, match="expected"):
        runtime.set_default(path, value)


def test_an_object_is_made_by_name_with_its_attributes() -> None:
    loss = runtime.make("ns3::LogDistancePropagationLossModel", Exponent=2.5, ReferenceDistance=2)
    assert loss.GetPathLossExponent() == pytest.approx(2.5)
    constant = runtime.make("ns3::ConstantRandomVariable", Constant=4)
    assert constant.GetValue() == pytest.approx(4)


@pytest.mark.parametrize("type_name", ["ns3::WifiPhy", "ns3::WifiMacHeader"])
def test_what_has_no_constructor_or_is_no_object_is_not_made(type_name: str) -> None:
    with pytest.raises(BadValue, match="made by name"):
        runtime.make(type_name)


def test_what_only_the_setter_refuses_is_refused_in_time() -> None:
    with pytest.raises(BadValue, match=r"ns-3 requires stream >= -1"):
        runtime.make("ns3::UniformRandomVariable", Stream=-2)


def test_attributes_are_inherited_and_say_by_whom_they_are_declared() -> None:
    known = runtime.attributes("ns3::TcpSocketBase")
    assert known["SegmentSize"].declared_by == "ns3::TcpSocket"
    assert known["Sack"].declared_by == "ns3::TcpSocketBase"
    assert known["SegmentSize"].expected == "uint32_t 0:4294967295"


def test_a_family_can_be_asked_for_and_its_nearest_named() -> None:
    family = ["ns3::RrFfMacScheduler", "ns3::PfFfMacScheduler"]
    assert runtime.known_type("ns3::PfFfMacScheduler", family) == "ns3::PfFfMacScheduler"
    with pytest.raises(UnknownName, match="did you mean 'ns3::PfFfMacScheduler'"):
        runtime.known_type("ns3::PfMacScheduler", family)


@functools.cache
def types_at_first() -> tuple[str, ...]:
    """The types to draw from; ns-3 registers some only when they are first used."""
    return runtime.type_names()


plausible: st.SearchStrategy[Any] = st.one_of(
    st.text(max_size=20),
    st.text("0123456789.eE+-:|,() nsmkMGbpsB/", max_size=12),
    st.integers(-(2**66), 2**66),
    st.integers(0, 300),
    st.floats(),
    st.booleans(),
    st.none(),
    st.from_regex(r"\A[0-9]{1,20}(\.[0-9]{1,3})?(ns|us|ms|s|h)\Z"),
    st.from_regex(r"\A[0-9]{1,12}(bps|Mbps|kB/s|p|kB|B)\Z"),
)


@settings(max_examples=700, deadline=None)
@given(data=st.data())
def test_any_value_of_any_attribute_is_set_or_refused(data: st.DataObject) -> None:
    """If one reached NS_FATAL_ERROR, this process would end here."""
    type_name = data.draw(st.sampled_from(types_at_first()))
    known = sorted(runtime.attributes(type_name))
    if not known:
        return
    name = data.draw(st.sampled_from(known))
    attribute = runtime.attributes(type_name)[name]
    choices = st.sampled_from(attribute.expected.split("|"))
    value = data.draw(plausible | choices)
    try:
        checked = runtime.checked_attributes(type_name, {name: value})
        runtime.set_default(f"{attribute.declared_by}::{name}", value)
    except (UnknownName, BadValue):
        return
    assert set(checked) == {name}


MADE = (
    "ns3::UniformRandomVariable",
    "ns3::TcpCubic",
    "ns3::TcpBic",
    "ns3::CoDelQueueDisc",
    "ns3::LogDistancePropagationLossModel",
    "ns3::ConstantPositionMobilityModel",
    "ns3::DropTailQueue<Packet>",
    "ns3::RateErrorModel",
    "ns3::BulkSendApplication",
)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_value_makes_an_object_or_is_refused(data: st.DataObject) -> None:
    type_name = data.draw(st.sampled_from(MADE))
    names = st.sampled_from(sorted(runtime.attributes(type_name))) | st.text(max_size=8)
    values = data.draw(st.dictionaries(names, plausible, max_size=3))
    try:
        made = runtime.make(type_name, **values)
    except (UnknownName, BadValue):
        return
    assert str(made.GetInstanceTypeId().GetName()) == type_name
