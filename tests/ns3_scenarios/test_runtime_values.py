"""The written form of attribute values: pure Python, no ns-3."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ns3_scenarios.runtime.errors import BadValue, nearest
from ns3_scenarios.runtime.values import canonical

VOID = "ns3::{}Value"


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("Uinteger", 1400, "1400"),
        ("Uinteger", "1400", "1400"),
        ("Integer", -3, "-3"),
        ("Double", 2, "2.0"),
        ("Double", "1e-3", "0.001"),
        ("Boolean", True, "1"),
        ("Boolean", "false", "0"),
        ("Time", "20ms", "20000000"),
        ("Time", "-1.5 us", "-1500"),
        ("Time", "2min", "120000000000"),
        ("DataRate", "10Mbps", "10000000"),
        ("DataRate", "1.5kB/s", "12000"),
        ("QueueSize", "100p", "100p"),
        ("QueueSize", "500kB", "500000B"),
        ("String", "a b=c", "a b=c"),
    ],
)
def test_a_good_value_becomes_its_plain_text(kind: str, value: object, text: str) -> None:
    assert canonical("x", VOID.format(kind), "", value) == text


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Uinteger", -1),
        ("Uinteger", 2**64),
        ("Uinteger", 1.0),
        ("Uinteger", True),
        ("Uinteger", "\u0661"),  # a digit to Python, none to C++
        ("Integer", "abc"),
        ("Double", "nan"),
        ("Double", "inf"),
        ("Double", False),
        ("Boolean", 1),
        ("Boolean", "yes"),
        ("Time", "20"),
        ("Time", 20),
        ("Time", "0.5ns"),
        ("Time", "300000000h"),
        ("DataRate", "12 apples"),
        ("DataRate", "0bps"),
        ("QueueSize", "9999999999p"),
        ("QueueSize", "100"),
        ("String", "two\nlines"),
        ("String", 5),
        ("Pointer", "ns3::ConstantRandomVariable"),
        ("Callback", "0"),
        ("AttributeContainer<ns3::UintegerValue>", "1,2"),
    ],
)
def test_a_bad_value_is_refused(kind: str, value: object) -> None:
    with pytest.raises(BadValue, match="x: expected "):
        canonical("x", VOID.format(kind), "", value)


def test_a_choice_is_taken_as_it_is_written() -> None:
    assert canonical("x", "ns3::EnumValue<E>", "Off|On|AcceptOnly", "AcceptOnly") == "AcceptOnly"


def test_yaml_reads_off_and_no_as_false_and_they_are_still_choices() -> None:
    assert canonical("x", "ns3::EnumValue<E>", "Off|On|AcceptOnly", False) == "Off"
    assert canonical("x", "ns3::EnumValue<E>", "yes|no", False) == "no"


def test_a_wrong_choice_names_the_nearest() -> None:
    with pytest.raises(BadValue, match="did you mean 'AcceptOnly'") as caught:
        canonical("x", "ns3::EnumValue<E>", "Off|On|AcceptOnly", "acceptonly")
    assert caught.value.nearest == ("AcceptOnly",)


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_a_time_in_nanoseconds_is_kept_to_the_nanosecond(duration_ns: int) -> None:
    assert canonical("x", "ns3::TimeValue", "", f"{duration_ns}ns") == str(duration_ns)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_kept_to_the_bit(number: float) -> None:
    assert float(canonical("x", "ns3::DoubleValue", "", number)) == number


def test_nearest_names_come_likest_first_whatever_their_case() -> None:
    assert nearest("segmentsiz", ["SndBufSize", "SegmentSize", "Delay"])[0] == "SegmentSize"
    assert nearest("qqqq", ["SndBufSize"]) == []
