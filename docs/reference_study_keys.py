"""The reference of the keys of a study, from the JSON schema that `collapipe-ns3 schema` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from collapipe_ns3.reading.study_schema import study_schema
from run_directory.columns import unit

Schema = Mapping[str, Any]

#: How the type of a number with a unit is described by the schema.
_QUANTITY = ("in ", ", or text with a unit")

#: Units that the end of a key's name alone does not say.
_UNITS = {"speed_m_s": "m/s"}


def study_keys() -> str:
    """A section with a table of keys for each section of a study, as Markdown."""
    schema = study_schema()
    places: dict[str, list[str]] = {}
    for name, place in _places(schema, schema["$defs"]):
        places.setdefault(name, []).append(place)
    sections = [
        _section(name, schema["$defs"][name], f"In {', '.join(f'`{place}`' for place in found)}.")
        for name, found in places.items()
    ]
    return "\n\n".join(
        [_section("Study", schema, "The keys at the top of a study file."), *sections]
    )


def _places(schema: object, sections: Schema, place: str = "") -> Iterator[tuple[str, str]]:
    """Each section below a schema by name, with each place where a study may have it."""
    if isinstance(schema, list):
        for value in schema:
            yield from _places(value, sections, place)
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield name, place
        yield from _places(sections[name], sections, place)
    for key, value in schema.get("properties", {}).items():
        yield from _places(value, sections, f"{place}.{key}".lstrip("."))
    yield from _places(_alternatives(schema), sections, place)
    yield from _places(schema.get("items"), sections, f"{place}[]")


def _alternatives(schema: Schema) -> Sequence[Schema]:
    """The types that a value may have; pydantic writes `oneOf` where exactly one of them fits."""
    found: Sequence[Schema] = schema.get("anyOf") or schema.get("oneOf") or []
    return found


def _section(name: str, schema: Schema, place: str) -> str:
    variants = schema.get("anyOf", [schema])
    parts = [f"## {name}", place, schema.get("description", "")]
    for variant in variants:
        parts += [f"### Task `{variant['title']}`"] if len(variants) > 1 else []
        parts += [_table(variant)]
    return "\n\n".join(parts)


def _table(schema: Schema) -> str:
    rows = ["| key | type | default | unit | meaning |", "| --- | --- | --- | --- | --- |"]
    required = schema.get("required", [])
    for key, value in schema["properties"].items():
        default = "required" if key in required else _default(value)
        meaning = value.get("description", "")
        meaning = "" if _is_quantity(meaning) else " ".join(meaning.split())
        cells = (f"`{key}`", _type(value), default, _unit(key, value), meaning)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)


def _default(schema: Schema) -> str:
    """The default as YAML; that of a section is in the section's own table."""
    if "default" not in schema or (isinstance(schema["default"], dict) and schema["default"]):
        return ""
    return f"`{json.dumps(schema['default'], ensure_ascii=False)}`"


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if _is_quantity(schema.get("description", "")):
        return "number or text"
    if alternatives := _alternatives(schema):
        return " or ".join(dict.fromkeys(map(_type, alternatives)))
    found = schema.get("type", "any")
    if isinstance(found, list):
        return " or ".join(found)
    if found == "array":
        return f"list of {_type(schema['items'])}" if "items" in schema else "list"
    if found == "object":
        values = schema.get("additionalProperties")
        return f"mapping to {_type(values)}" if isinstance(values, dict) else "mapping"
    words: Mapping[str, str] = {"string": "text", "boolean": "true or false"}
    return f"{words.get(found, found)}{_bounds(schema)}"


def _bounds(schema: Schema) -> str:
    signs = {
        "minimum": "≥",
        "exclusiveMinimum": ">",
        "maximum": "≤",
        "exclusiveMaximum": "<",
    }
    bounds = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return f" {', '.join(bounds)}" if bounds else ""


def _unit(key: str, schema: Schema) -> str:
    """The unit that the type or the name of a key says."""
    return _UNITS.get(key) or next(_quantity_units(schema), unit(key))


def _quantity_units(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        described = schema.get("description")
        if isinstance(described, str) and _is_quantity(described):
            yield described.removeprefix(_QUANTITY[0]).removesuffix(_QUANTITY[1])
        for value in schema.values():
            yield from _quantity_units(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _quantity_units(value)


def _is_quantity(description: str) -> bool:
    return description.startswith(_QUANTITY[0]) and description.endswith(_QUANTITY[1])
