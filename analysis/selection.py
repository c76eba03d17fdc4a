"""Selects rows and columns of tables: checks what users write, and makes pyarrow expressions."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

#: What selects rows: a pyarrow expression, or for each column the value or values to keep.
Where: TypeAlias = pc.Expression | Mapping[str, Any]

#: How many names a message lists.
_LISTED = 12

#: What the values of a column are, for people.
_KINDS = {"int64": "integers", "double": "numbers", "string": "text", "bool": "True or False"}


def known(name: str, choices: Iterable[str], what: str, place: str = "") -> str:
    """The name, where it is one of the choices; else raises `ValueError` with the nearest.

    The message is that there is no `what` of this name, in `place`.
    """
    there = list(choices)
    if name in there:
        return name
    near = [each for each in there if each.startswith(str(name)) and name][:1]
    near = near or difflib.get_close_matches(str(name), there, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {listed(there)}"
    raise ValueError(f"no {what} {name!r}{place and f' in {place}'}; {hint}")


def listed(names: Iterable[str]) -> str:
    """The names in one line, of many the first ones."""
    first = list(itertools.islice(names, _LISTED + 1))
    return ", ".join([*first[:_LISTED], *(["…"] if len(first) > _LISTED else [])])


def values_of(value: Any) -> list[Any]:
    """The values to keep: those of a list, set, array or another collection, else the value."""
    is_one = isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable)
    return [value] if is_one else list(value)


def chosen_columns(columns: Sequence[str] | None, schema: pa.Schema, table: str) -> list[str]:
    """The names of the columns to read, by default all; raises `ValueError` for an unknown one."""
    if columns is None:
        return list(schema.names)
    names = [columns] if isinstance(columns, str) else list(columns)
    return list(dict.fromkeys(known(name, schema.names, "column", table) for name in names))


def expression(where: Where | None, schema: pa.Schema, table: str) -> pc.Expression | None:
    """The expression of a selection; raises `ValueError` for an unknown column or a wrong value."""
    if where is None or isinstance(where, pc.Expression):
        return where
    selected: pc.Expression | None = None
    for key, value in where.items():
        kind = schema.field(known(key, schema.names, "column", table)).type
        one = ds.field(key).isin(_array(key, values_of(value), kind))
        selected = one if selected is None else selected & one
    return selected


def scan(
    dataset: ds.Dataset, columns: Sequence[str] | None, where: Where | None, table: str
) -> pa.Table:
    """The chosen columns of the selected rows.

    Raises `ValueError` for an unknown column, or for a value that its column can't have.
    """
    names = chosen_columns(columns, dataset.schema, table)
    selected = expression(where, dataset.schema, table)
    try:
        return dataset.to_table(columns=names, filter=selected)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:  # of a user's own expression
        unknown = re.match(r"No match for FieldRef\.Name\((.*?)\) in ", str(error))
        if unknown:
            known(unknown[1], dataset.schema.names, "column", table)
        raise


def _array(key: str, values: list[Any], kind: pa.DataType) -> pa.Array:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    try:
        return pa.array(values, plain)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        shown = ", ".join(map(repr, values))
        raise ValueError(
            f"expected {_KINDS.get(str(plain), plain)} for {key}, not {shown}"
        ) from None
