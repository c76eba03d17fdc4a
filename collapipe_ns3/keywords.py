"""The keyword parameters of a plug-in's function as a pydantic model, which checks settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import PydanticSerializationError, to_jsonable_python

from collapipe_ns3.problems import Place, Problem, from_pydantic, path_of


def model_of(function: Callable[..., Any], name: str, skip: int = 0) -> type[BaseModel]:
    """A model with a field for each parameter after the first `skip`, with its type and default."""
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())[skip:]
    fields: dict[str, Any] = {
        each.name: (
            Any if each.annotation is each.empty else each.annotation,
            ... if each.default is each.empty else each.default,
        )
        for each in parameters
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
    return create_model(f"{name}_settings", __config__=config, **fields)


def plain_defaults(model: type[BaseModel]) -> dict[str, Any]:
    """The defaults by name, without those that can't be written in a study file."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if field.is_required():
            continue
        try:
            plain = to_jsonable_python(field.default)
        except PydanticSerializationError:
            continue
        if not _refuses(model, name, plain):
            found[name] = plain
    return found


def _refuses(model: type[BaseModel], name: str, value: object) -> bool:
    try:
        model.model_validate({name: value})
    except ValidationError as error:
        return any(each["loc"][:1] == (name,) for each in error.errors())
    return False


def problems(model: type[BaseModel], settings: Mapping[str, Any], at: Place) -> Iterator[Problem]:
    """All problems of settings for a model of `model_of`; they are at the place `at` of a study."""
    try:
        model.model_validate(dict(settings))
    except ValidationError as error:
        for place, problem in from_pydantic(error, lambda place: model.model_fields):
            yield Problem(path_of((*at, *place)), problem.message)
