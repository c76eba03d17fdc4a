"""The installed plug-ins of a group, with their settings, as a user looks them up."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from collapipe_ns3.keywords import plain_defaults
from collapipe_ns3.plugins import RAISED, PluginFailed, PluginGroup, described


@dataclass(frozen=True, slots=True)
class Setting:
    """A keyword of a plug-in's constructor: its type in a few words, and its default.

    `default` is None too where the setting is `required`, and text where it is no plain data.
    """

    name: str
    type: str
    required: bool
    default: Any
    description: str


@dataclass(frozen=True, slots=True)
class Installed:
    """A plug-in that a study may name, the package that contains it, and its settings.

    `error` is the reason if its code can't be loaded, and otherwise empty.
    """

    name: str
    description: str
    package: str
    settings: tuple[Setting, ...]
    error: str = ""


def installed(
    group: PluginGroup, settings_model: Callable[[str], type[BaseModel]]
) -> Iterator[Installed]:
    """All installed plug-ins of a group by name; `settings_model` gives the settings of each."""
    for point in sorted(entry_points(group=group.group), key=lambda point: point.name):
        package = point.dist.name if point.dist is not None else ""
        try:
            description = (inspect.getdoc(point.load()) or "").partition("\n")[0]
            settings = tuple(settings_of(settings_model(point.name)))
        except PluginFailed as error:
            yield Installed(point.name, "", package, (), str(error))
        except RAISED as error:
            failed = f"{group.kind} {point.name}, being loaded: {described(error)}"
            yield Installed(point.name, "", package, (), failed)
        else:
            yield Installed(point.name, description, package, settings)


def settings_of(model: type[BaseModel]) -> Iterator[Setting]:
    """The settings that a model of `keywords.model_of` checks."""
    defaults = plain_defaults(model)
    try:
        schemas = model.model_json_schema()["properties"]
    except (PydanticInvalidForJsonSchema, KeyError):  # no settings, or types of the plug-in's own
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
    bounds = [f"{sign} {_number(schema[key])}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join([_KINDS.get(str(kind), "anything"), ", ".join(bounds)]).rstrip()


def _number(value: float) -> str:
    """A bound with all its digits, if it is a whole number: 1000000, not 1e+06."""
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e12 else f"{value:g}"


_KINDS = {
    "number": "number",
    "integer": "integer",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}

_BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
