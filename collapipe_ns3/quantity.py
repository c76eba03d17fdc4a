"""Quantities in study files: a number in the unit that its key names, or text with a unit.

`bandwidth_hz: 20e6` and `bandwidth_hz: 20 MHz` are the same. Powers may be written in watts or in
dBm, whichever of the two the key names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_METRIC = {"n": "1e-9", "u": "1e-6", "m": "1e-3", "": "1", "k": "1e3", "M": "1e6", "G": "1e9"}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def _scaled(unit: str, prefixes: str) -> dict[str, Decimal]:
    """The unit and its multiples by name; each letter of `prefixes` is a metric prefix."""
    return {f"{p}{unit}": Decimal(_METRIC[p]) for p in ["", *prefixes]}


#: The units that a quantity may be written in, by the unit of its key.
_UNITS: Mapping[str, Mapping[str, Decimal]] = {
    "Hz": _scaled("Hz", "kMG"),
    "W": _scaled("W", "unmk"),
    "s": _scaled("s", "num"),
    "m": _scaled("m", "k"),
    "B": _scaled("B", "kMG") | {f"{prefix}B": Decimal(n) for prefix, n in _BINARY.items()},
    "bit/s": _scaled("bit/s", "kMG"),
    "FLOP/s": _scaled("FLOP/s", "kMG") | {"TFLOP/s": Decimal("1e12")},
}

_LONGEST = 40  # characters of a number
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TEXT = re.compile(rf"({_NUMBER})\s*(\S*)")


def to_w(power_dbm: float) -> float:
    """Converts dBm to watts."""
    return float(10 ** (power_dbm / 10 - 3))


def to_dbm(power_w: float) -> float:
    """Converts watts to dBm; 0 gives minus infinity, nan and negative values nan."""
    return to_db(power_w) + 30


def to_db(ratio: float) -> float:
    """Converts a ratio of powers to dB; 0 gives minus infinity, nan and negative values nan."""
    if ratio > 0:
        return 10 * math.log10(ratio)
    return -math.inf if ratio == 0 else math.nan


def read(unit: str, value: object) -> object:
    """The number that a text describes, in `unit`; any other value is returned unchanged.

    Raises `ValueError`, which lists the possible units.
    """
    if not isinstance(value, str):
        return value
    power = unit in ("W", "dBm")
    units = _UNITS["W" if power else unit]
    found = _TEXT.fullmatch(value.strip())
    if found is not None and len(found[1]) <= _LONGEST:
        number, written = Decimal(found[1]), found[2] or unit
        try:
            if power and written == "dBm":
                return float(number) if unit == "dBm" else to_w(float(number))
            if written in units:
                scaled = float(number * units[written])
                return to_dbm(scaled) if unit == "dBm" else scaled
        except ArithmeticError:
            raise ValueError(f"{value!r} is out of all bounds") from None
    choices = ", ".join([*(["dBm"] if power else []), *units])
    raise ValueError(f"expected a number, or one with a unit of {choices}, not {value!r}")


def _reader(unit: str) -> Callable[[object], object]:
    return lambda value: read(unit, value)


def _schema(unit: str) -> dict[str, Any]:
    described = f"in {unit}, or text with a unit"
    return {"anyOf": [{"type": "number"}, {"type": "string"}], "description": described}


Hertz = Annotated[float, BeforeValidator(_reader("Hz")), WithJsonSchema(_schema("Hz"))]
Watts = Annotated[float, BeforeValidator(_reader("W")), WithJsonSchema(_schema("W"))]
Dbm = Annotated[float, BeforeValidator(_reader("dBm")), WithJsonSchema(_schema("dBm"))]
Seconds = Annotated[float, BeforeValidator(_reader("s")), WithJsonSchema(_schema("s"))]
Metres = Annotated[float, BeforeValidator(_reader("m")), WithJsonSchema(_schema("m"))]
BitsPerSecond = Annotated[
    float, BeforeValidator(_reader("bit/s")), WithJsonSchema(_schema("bit/s"))
]
Bytes = Annotated[float, BeforeValidator(_reader("B")), WithJsonSchema(_schema("B"))]
FlopsPerSecond = Annotated[
    float, BeforeValidator(_reader("FLOP/s")), WithJsonSchema(_schema("FLOP/s"))
]
