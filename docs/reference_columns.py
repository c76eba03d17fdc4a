"""The reference of the tables of a run, from the schemas with which they are written and loaded."""

from __future__ import annotations

import pyarrow as pa

from analysis.derived import DERIVED
from run_directory.columns import COLUMNS, COMMON, ROWS, unit
from run_directory.schemas import SCHEMAS


def columns() -> str:
    """A section for each recorded table with its columns, as Markdown."""
    return "\n\n".join(_section(name, schema) for name, schema in SCHEMAS.items())


def derived_columns() -> str:
    """The same for the tables that `analysis` makes from other files."""
    return "\n\n".join(_section(name, schema) for name, schema in DERIVED.items())


def _section(name: str, schema: pa.Schema) -> str:
    rows = ["| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
    for field in schema:
        if field.name not in COMMON:
            cells = (_type(field.type), unit(field.name), COLUMNS[name][field.name])
            rows.append(f"| `{field.name}` | {' | '.join(cells)} |")
    return "\n\n".join([f"### `{name}`", ROWS[name], "\n".join(rows)])


def _type(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return "category"
    if pa.types.is_boolean(kind):
        return "true or false"
    if pa.types.is_integer(kind):
        return "integer"
    return "number" if pa.types.is_floating(kind) else "text"
