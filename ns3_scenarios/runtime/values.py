"""Values of attributes as users write them, checked for form and turned into ns-3's texts.

ns-3 ends the process at a text that it can't parse, so every text is checked first. Pure Python.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal

from ns3_scenarios.runtime.errors import BadValue, nearest

_NUMBER = r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)"
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
}
_TIME = re.compile(rf"{_NUMBER}\s*(ns|us|ms|s|min|h)", re.ASCII)
_MULTIPLES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_RATE = re.compile(rf"{_NUMBER}\s*([kMG]?)(bps|b/s|Bps|B/s)", re.ASCII)
_QUEUE = re.compile(r"(\d{1,9})\s*(p|B|kB|MB)", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_LONGEST_TIME_NS = 2**63 - 1
_HIGHEST_RATE_BPS = 2**64 - 1
_LONGEST_QUEUE = 2**32 - 1
_MOST_CHOICES_TOLD = 6  # a longer list would hide the one that was meant


def canonical(name: str, kind: str, expected: str, value: object) -> str:
    """The text of `value` for an attribute of this kind.

    `kind` is ns-3's name of the value class (`ns3::TimeValue`) and `expected` its checker's
    description of the range or the choices. Ranges are left to the checker. Raises `BadValue` for a
    value of the wrong form, and for a kind that can't be checked (pointers, callbacks,
    lists, addresses).
    """
    if kind.startswith("ns3::EnumValue<") or kind == "ns3::TypeIdValue":
        return _choice(name, expected, value)
    reader = _READERS.get(kind)
    if reader is None:
        sort = kind.removeprefix("ns3::").split("<")[0].removesuffix("Value")
        raise BadValue(name, value, f"an attribute that can be set by name, which a {sort} can't")
    return reader(name, expected, value)


def _choice(name: str, expected: str, value: object) -> str:
    # YAML reads Off, On, yes and no as booleans, and ns-3 has choices of these names.
    spellings = {False: ("Off", "no", "false"), True: ("On", "yes", "true")}
    choices = [choice for choice in expected.split("|") if choice]
    written = spellings[value] if isinstance(value, bool) else (str(value),)
    for choice in choices:
        if choice in written:
            return choice
    close = nearest(written[0], choices)
    if len(choices) > _MOST_CHOICES_TOLD and close:
        raise BadValue(name, value, "one of its choices", close)
    raise BadValue(name, value, f"one of {', '.join(choices) or 'no choice'}", close)


def _unsigned(name: str, expected: str, value: object) -> str:
    return _whole(name, expected, value, 0, 2**64 - 1)


def _signed(name: str, expected: str, value: object) -> str:
    return _whole(name, expected, value, -(2**63), 2**63 - 1)


def _whole(name: str, expected: str, value: object, low: int, high: int) -> str:
    """A whole number within ns-3's 64 bits; the attribute's own range is checked later."""
    if not isinstance(value, bool) and _INTEGER.fullmatch(str(value)):
        number = int(str(value))
        if low <= number <= high:
            return str(number)
    raise BadValue(name, value, f"a whole number ({expected})")


def _real(name: str, expected: str, value: object) -> str:
    if not isinstance(value, bool):
        try:
            number = float(str(value))
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return repr(number)
    raise BadValue(name, value, f"a number ({expected})")


def _boolean(name: str, expected: str, value: object) -> str:
    del expected
    if isinstance(value, str) and value in {"true", "false"}:
        return str(int(value == "true"))
    if isinstance(value, bool):
        return str(int(value))
    raise BadValue(name, value, "true or false")


def _time(name: str, expected: str, value: object) -> str:
    if isinstance(value, str) and (match := _TIME.fullmatch(value.strip())):
        duration_ns = Decimal(match[1]) * _NANOSECONDS[match[2]]
        if duration_ns == int(duration_ns) and abs(duration_ns) <= _LONGEST_TIME_NS:
            return str(int(duration_ns))
    raise BadValue(name, value, f"whole nanoseconds with a unit, as in '20ms' ({expected})")


def _data_rate(name: str, expected: str, value: object) -> str:
    del expected
    if isinstance(value, str) and (match := _RATE.fullmatch(value.strip())):
        bits = 8 if match[3].startswith("B") else 1
        rate_bps = Decimal(match[1]) * _MULTIPLES[match[2]] * bits
        # With a rate of zero ns-3 divides by zero when something is sent.
        if rate_bps == int(rate_bps) and 0 < rate_bps <= _HIGHEST_RATE_BPS:
            return str(int(rate_bps))
    raise BadValue(name, value, "whole bits a second above zero with a unit, as in '10Mbps'")


def _queue_size(name: str, expected: str, value: object) -> str:
    del expected
    if isinstance(value, str) and (match := _QUEUE.fullmatch(value.strip())):
        length = int(match[1]) * _MULTIPLES[match[2][:-1]]
        if length <= _LONGEST_QUEUE:
            return f"{length}{match[2][-1]}"
    raise BadValue(name, value, "packets or bytes, as in '100p' or '500kB'")


def _string(name: str, expected: str, value: object) -> str:
    del expected
    if isinstance(value, str) and value.isascii() and value.isprintable():
        return value
    raise BadValue(name, value, "a text of printable ASCII")


_READERS: dict[str, Callable[[str, str, object], str]] = {
    "ns3::UintegerValue": _unsigned,
    "ns3::IntegerValue": _signed,
    "ns3::DoubleValue": _real,
    "ns3::BooleanValue": _boolean,
    "ns3::TimeValue": _time,
    "ns3::DataRateValue": _data_rate,
    "ns3::QueueSizeValue": _queue_size,
    "ns3::StringValue": _string,
}
