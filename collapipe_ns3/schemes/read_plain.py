"""Reads what a scheme returned as plain data: Python's own numbers, texts, lists and mappings.

numpy's numbers, and lists in place of tuples, are accepted and converted. Any other type is an
error whose message has its place in the returned value.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import reprlib
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from types import UnionType
from typing import Any, Literal, TypeGuard, get_args, get_origin, get_type_hints

import numpy as np

from collapipe_ns3.plan import RoundPlan

#: The largest depth of nested data. Deeper data is refused, as it probably contains itself.
_DEEPEST = 100

#: The types of a plan's fields, as error messages name them.
_IN_WORDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text"}


class NotPlain(ValueError):
    """A value is not of the expected form; the message lists each place and what is there."""


def read_plan(value: object) -> RoundPlan:
    """A plan converted to Python's own types; raises `NotPlain` with all fields of a wrong type."""
    found: list[str] = []
    plan = _read(RoundPlan, value, "", found)
    if found:
        raise NotPlain("\n  ".join(["", *found] if len(found) > 1 else found))
    assert isinstance(plan, RoundPlan)
    return plan


def _read(kind: Any, value: object, where: str, found: list[str]) -> object:
    """`value` as the type `kind`; errors are appended to `found`, and None replaces the value."""
    if get_origin(kind) is UnionType:  # X | None
        return None if value is None else _read(get_args(kind)[0], value, where, found)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, kind):
        fields: dict[str, Any] = {
            name: _read(hint, getattr(value, name), f"{where}.{name}", found)
            for name, hint in _hints(kind).items()
        }
        return kind(**fields)
    if get_origin(kind) is tuple and isinstance(value, tuple | list):
        item = get_args(kind)[0]
        return tuple(_read(item, each, f"{where}[{n}]", found) for n, each in enumerate(value))
    if get_origin(kind) is Literal and isinstance(value, str) and value in get_args(kind):
        return str(value)
    if isinstance(kind, type) and (read_value := _scalar(kind, value)) is not None:
        return read_value
    place = where.removeprefix(".") or "the plan"
    found.append(f"{place}: expected {_in_words(kind)}, not {_shown(value)}")
    return None


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _scalar(kind: type, value: object) -> int | float | str | None:
    """A number or text as the Python type `kind`, None if the value is of another type."""
    if kind is bool and isinstance(value, bool | np.bool):
        return bool(value)
    if kind is str and isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return None
    if kind is int and isinstance(value, numbers.Integral):
        return int(value)
    if kind is float and isinstance(value, numbers.Real) and _is_finite(value):
        return float(value)
    return None


def _is_finite(value: numbers.Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _in_words(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"a tuple of {get_args(kind)[0].__name__}"
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    return _IN_WORDS.get(kind) or f"a{'n' * (kind.__name__[0] in 'AEIOU')} {kind.__name__}"


def read_pairs(value: object, nodes: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Directed links between these nodes as (sender, receiver); raises `NotPlain`."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise NotPlain(f"expected links as (from, to), not {_shown(value)}")
    limit = len(nodes) ** 2
    pairs = list(islice(value, limit + 1))
    if len(pairs) > limit:
        raise NotPlain(f"expected at most {limit} links between {len(nodes)} nodes, not more")
    return tuple(_pair(pair, nodes) for pair in pairs)


def _pair(value: object, nodes: Collection[str]) -> tuple[str, str]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise NotPlain(f"expected a link as (from, to), not {_shown(value)}")
    src, dst = value
    for node in (src, dst):
        if not isinstance(node, str) or node not in nodes:
            raise NotPlain(f"there is no node {_shown(node)} in the link {_shown(value)}")
    if src == dst:
        raise NotPlain(f"expected two nodes in a link, not {_shown(value)}")
    return src, dst


def read_figures(value: object, nodes: Collection[str]) -> dict[str, float]:
    """A mapping from nodes to finite numbers; raises `NotPlain`."""
    if not isinstance(value, Mapping):
        raise NotPlain(f"expected numbers by node, not {_shown(value)}")
    figures = {}
    for node, given in value.items():
        if not isinstance(node, str) or node not in nodes:
            raise NotPlain(f"there is no node {_shown(node)}")
        number = _scalar(float, given)
        if number is None:
            raise NotPlain(f"{node}: expected a finite number, not {_shown(given)}")
        figures[node] = float(number)
    return figures


def read_json(value: object) -> dict[str, Any]:
    """A mapping for JSON, in which infinities and nan become null; raises `NotPlain`."""
    return _mapping(value, _json_leaf, list, str)


def read_memory(value: object) -> dict[str, Any]:
    """A mapping for a checkpoint, which may contain torch's tensors; raises `NotPlain`."""
    return _mapping(value, _memory_leaf, None, _plain_key)


def _plain_key(key: str | int) -> str | int:
    """A key as Python's own text or number: a checkpoint with an enumeration's can't be loaded."""
    return str(key) if isinstance(key, str) else int(key)


#: Reads a value that contains no others: a tuple with the value, empty if it is not plain.
_Leaf = Callable[[object], tuple[object, ...]]


def _json_leaf(value: object) -> tuple[object, ...]:
    if _is_no_number(value):
        return (None,)
    return _plain_leaf(value)


def _memory_leaf(value: object) -> tuple[object, ...]:
    # Importing torch takes seconds, and as long as nothing has imported it there are no tensors.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return (value.detach().clone(),)
    if _is_no_number(value):
        return (float(value),)
    return _plain_leaf(value)


def _is_no_number(value: object) -> TypeGuard[float]:
    """Whether it is an infinity or nan, of Python or numpy."""
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, numbers.Integral)
        and not _is_finite(value)
    )


def _plain_leaf(value: object) -> tuple[object, ...]:
    if value is None or isinstance(value, bool):
        return (value,)
    for kind in (str, int, float):
        if (scalar := _scalar(kind, value)) is not None:
            return (scalar,)
    return ()


def _mapping(
    value: object,
    leaf: _Leaf,
    sequence: type[list[Any]] | None,
    key_as: Callable[[Any], object],
) -> dict[str, Any]:
    """A mapping whose contents are all read.

    Lists and tuples are converted to `sequence`, or keep their type if it is None.
    """

    def read(value: object, where: str, depth: int) -> object:
        if depth > _DEEPEST:
            raise NotPlain(f"is nested more than {_DEEPEST} deep, or contains itself")
        if isinstance(value, Mapping):
            for key in value:
                if isinstance(key, bool) or not isinstance(key, str | int):
                    what = f"expected texts or whole numbers as keys, not {_shown(key)}"
                    raise NotPlain(f"{where or 'the mapping'}: {what}")
            return {
                key_as(key): read(each, f"{where}[{key!r}]", depth + 1)
                for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            kind = sequence or (tuple if isinstance(value, tuple) else list)
            return kind(read(each, f"{where}[{n}]", depth + 1) for n, each in enumerate(value))
        found = leaf(value)
        if not found:
            raise NotPlain(f"{where}: expected plain data, not {_shown(value)}")
        return found[0]

    if not isinstance(value, Mapping):
        raise NotPlain(f"expected a mapping, not {_shown(value)}")
    result = read(value, "", 0)
    assert isinstance(result, dict)
    return result


def _shown(value: object) -> str:
    """A value abbreviated for a message, with its type unless that is obvious."""
    text = reprlib.repr(value)
    plain = isinstance(value, str | int | float | tuple | list | dict | type(None))
    return text if plain and type(value).__module__ == "builtins" else (
        f"{text} ({type(value).__name__})"
    )  # fmt: skip
