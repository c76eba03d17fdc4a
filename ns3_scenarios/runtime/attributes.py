"""ns-3's types and attributes by name, with every name and value checked before ns-3 sees it.

An unknown name or an unreadable value ends the process in ns-3 (`NS_FATAL_ERROR`); here it is a
`ValueError` that says what is valid.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ns3_scenarios.runtime.errors import BadValue, SimulationError, UnknownName, nearest
from ns3_scenarios.runtime.loader import interpreter, load, modules_asked_for
from ns3_scenarios.runtime.own_code import native
from ns3_scenarios.runtime.simulation import rehearse
from ns3_scenarios.runtime.values import canonical


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a type: the type that declares it, the class of its value, and its range.

    `expected` is ns-3's description of the range: `uint8_t 0:255`, or choices separated by bars.
    """

    name: str
    declared_by: str
    kind: str
    expected: str
    at_construction: bool
    afterwards: bool


def type_names() -> tuple[str, ...]:
    """The name of every type in the loaded modules, sorted."""
    return _type_names(modules_asked_for())


@functools.cache
def _type_names(modules: int) -> tuple[str, ...]:
    del modules  # only a new module has new types
    return tuple(sorted(str(native().TypeNames()).split("\n")[:-1]))


@functools.cache
def attributes(type_name: str) -> Mapping[str, Attribute]:
    """A type's attributes by name, including inherited ones; raises `UnknownName`."""
    known_type(type_name)
    found: dict[str, Attribute] = {}
    for line in str(native().DescribeAttributes(type_name)).split("\n")[:-1]:
        name, declared_by, kind, expected, when = line.split("\t")
        # The nearest ancestor comes first, and hides attributes of the same name behind it.
        found.setdefault(
            name,
            Attribute(name, declared_by, kind, expected, "construct" in when, "set" in when),
        )
    return found


def known_type(type_name: str, among: Iterable[str] | None = None) -> str:
    """The name, if it is that of a type (one of `among`); otherwise raises `UnknownName`."""
    valid = type_names() if among is None else tuple(among)
    if type_name not in valid:
        raise UnknownName("ns-3 type", type_name, _nearest_types(type_name, valid))
    return type_name


def checked_attributes(type_name: str, values: Mapping[str, object]) -> dict[str, str]:
    """The texts that `make` passes to ns-3 for these values.

    Values are numbers, booleans, or texts with a unit (`20ms`, `10Mbps`, `100p`).
    Raises `UnknownName` for the type or an attribute, `BadValue` for a value out of range.
    """
    return {name: _checked(type_name, name, value) for name, value in values.items()}


def make(type_name: str, **values: object) -> Any:
    """A new object of the type, with these attributes; an ns-3 smart pointer to its class.

    Raises `UnknownName` and `BadValue` as `checked_attributes` does, and `BadValue` for a type
    that has no constructor without arguments, or that ns-3 can't start with these attributes.
    """
    checked = checked_attributes(type_name, values)
    if not native().IsCreatable(known_type(type_name)):
        raise BadValue("type", type_name, "a type that can be made by name")
    lines = "".join(f"{name}={text}\n" for name, text in checked.items())
    if checked:
        _rehearse_making(type_name, lines)
    return _as_own_class(native().Make(type_name, lines), type_name)


def checked_default(path: str, value: object) -> str:
    """The text that `set_default` passes to ns-3; raises as it does, and sets nothing."""
    type_name, _, name = path.rpartition("::")
    attribute = _attribute(type_name, name)
    if attribute.declared_by != type_name:
        declared = f"{attribute.declared_by}::{name}"
        raise UnknownName("attribute default", path, [declared])
    return _checked(type_name, name, value)


def set_default(path: str, value: object) -> None:
    """Sets an attribute's default for objects made from now on; `path` is `type::attribute`.

    As in ns-3, the type must be the one that declares the attribute, since all types that inherit
    it share the default. `reset` restores the original. Raises `UnknownName` and `BadValue`.
    """
    type_name, _, name = path.rpartition("::")
    native().SetDefault(type_name, name, checked_default(path, value))


def set_trusted_default(path: str, value: str | float | bool) -> None:
    """`set_default` without checks, for values in this code, which tests check.

    The first checks in a process take a quarter of the time of building a network.
    """
    type_name, _, name = path.rpartition("::")
    native().SetDefault(type_name, name, trusted_text(path, value))


def trusted_text(path: str, value: str | float | bool) -> str:
    """What `checked_default` returns for a time (as text), a number, true or false."""
    if isinstance(value, str):
        return canonical(path, "ns3::TimeValue", "a time", value)
    return str(int(value)) if isinstance(value, bool) else str(value)


def _attribute(type_name: str, name: str) -> Attribute:
    if not type_name:
        expected = "an attribute with its type, as in ns3::TcpSocket::SegmentSize"
        raise BadValue(name, name, expected)
    known = attributes(type_name)
    if name not in known:
        raise UnknownName("attribute", name, nearest(name, known), where=type_name)
    return known[name]


def _checked(type_name: str, name: str, value: object) -> str:
    attribute = _attribute(type_name, name)
    path = f"{type_name}::{name}"
    if not attribute.at_construction:
        raise BadValue(path, value, "an attribute that can be set at construction")
    text = canonical(path, attribute.kind, attribute.expected, value)
    if not native().Fits(type_name, name, text):
        raise BadValue(path, value, attribute.expected)
    return text


def _nearest_types(type_name: str, valid: Iterable[str]) -> list[str]:
    # Offered whatever the distance, as users may leave out the namespace.
    prefixed = f"ns3::{type_name}"
    return [prefixed] if prefixed in valid else nearest(type_name, valid)


@functools.cache
def _rehearse_making(type_name: str, lines: str) -> None:
    """Tries it once in a copy of the process: a setter may refuse what its checker accepts."""
    try:
        rehearse(lambda: native().Make(type_name, lines), "")
    except SimulationError as error:
        reason = str(error).removeprefix(": ")
        raise BadValue(type_name, lines.split(), f"what it can start with ({reason})") from None


def _as_own_class(pointer: Any, type_name: str) -> Any:
    """The pointer, cast to the object's own class if Cling knows that class."""
    scope = interpreter().gbl
    try:
        for part in type_name.split("::"):
            scope = getattr(scope, part)
    except AttributeError:
        return pointer
    return load().DynamicCast[scope, load().Object](pointer)
