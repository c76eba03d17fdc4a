"""Quantities: a number in the key's unit, or text with a unit, and the same either way."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapipe_ns3.quantity import read, to_dbm, to_w


@pytest.mark.parametrize(
    ("unit", "text", "value"),
    [
        ("Hz", "20 MHz", 20e6),
        ("Hz", "20e6", 20e6),
        ("Hz", "180kHz", 180e3),
        ("W", "100 mW", 0.1),
        ("W", "20 dBm", 0.1),
        ("dBm", "100 mW", 20.0),
        ("dBm", "-3", -3.0),
        ("dBm", "23 dBm", 23.0),
        ("s", "1.5 ms", 1.5e-3),
        ("m", ".2 km", 200.0),
        ("B", "3 GiB", 3 * 2**30),
        ("B", "4 kB", 4000.0),
        ("FLOP/s", "12 GFLOP/s", 12e9),
    ],
)
def test_text_with_a_unit_is_the_number_in_the_keys_unit(
    unit: str, text: str, value: float
) -> None:
    assert read(unit, text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("text", ["20 apples", "MHz", "", "20 M Hz", "1,5 s", "nan", "0x10", "5 m"])
def test_what_is_no_quantity_is_answered_with_the_units_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit of Hz, kHz, MHz, GHz, not"):
        read("Hz", text)


@given(st.floats(allow_nan=False))
def test_a_number_stays_as_it_is(number: float) -> None:
    assert read("W", number) is number


@given(st.floats(-150, 80))
def test_watts_and_dbm_turn_into_each_other(power_dbm: float) -> None:
    assert to_dbm(to_w(power_dbm)) == pytest.approx(power_dbm, abs=1e-9)


def test_no_power_and_an_unknown_one_have_their_own_decibels() -> None:
    assert to_dbm(0.0) == -math.inf
    assert math.isnan(to_dbm(math.nan))
