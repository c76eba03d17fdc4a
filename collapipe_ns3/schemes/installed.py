"""The installed schemes and their settings, as a user looks them up."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from collapipe_ns3.keywords import plain_defaults
from collapipe_ns3.schemes import SCHEMES, SchemeFailed, failing_as, settings_model


@dataclass(frozen=True, slots=True)
class Setting:
    """A keyword of a scheme's constructor: its type in a few words, and its default.

    `default` is None too where the setting is `required`, and text where it is no plain data.
    """

    name: str
    type: str
    required: bool
    default: Any
    description: str


@dataclass(frozen=True, slots=True)
class InstalledScheme:
    """A scheme that a study may name, the package that brings it, and its settings.

    `error` says why its code can't be loaded, and is empty where it can.
    """

    name: str
    description: str
    package: str
    settings: tuple[Setting, ...]
    error: str = ""


def installed_schemes() -> Iterator[InstalledScheme]:
    """All installed schemes by name."""
    for point in sorted(entry_points(group=SCHEMES.group), key=lambda point: point.name):
        package = point.dist.name if point.dist is not None else ""
        try:
            with failing_as(point.name, "being loaded"):
                description = (inspect.getdoc(point.load()) or "").partition("\n")[0]
                settings = tuple(_settings(settings_model(point.name)))
        except SchemeFailed as error:
            yield InstalledScheme(point.name, "", package, (), str(error))
        else:
            yield InstalledScheme(point.name, description, package, settings)


def _settings(model: type[BaseModel]) -> Iterator[Setting]:
    defaults = plain_defaults(model)
    try:
        schemas = model.model_json_schema()["properties"]
    except (PydanticInvalidForJsonSchema, KeyError):  # no settings, or types of the scheme's own
        schemas = {}
    for name, field in model.model_fields.items():
        yield Setting(
            name=name,
            type=type_text(schemas.get(name, {})),
            required=field.is_required(),
            default=None if field.is_required() else defaults.get(name, repr(field.default)),
            description=" ".join((field.description or "").split()),
        )


def type_text(schema: Mapping[str, Any]) -> str:
    """A JSON schema in a few words: `number > 0`, `fair or all`, `mapping to number`."""
    if "enum" in schema or "const" in schema:
        return " or ".join(str(each) for each in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_text(each) for each in schema["anyOf"]))
    kind = schema.get("type")
    if kind == "object":
        return f"mapping to {type_text(schema.get('additionalProperties') or {})}"
    if kind == "array":
        return f"list of {type_text(schema.get('items') or {})}"
    bounds = [f"{sign} {schema[key]:g}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join([_KINDS.get(str(kind), "anything"), ", ".join(bounds)]).rstrip()


_KINDS = {
    "number": "number",
    "integer": "integer",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}

_BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
