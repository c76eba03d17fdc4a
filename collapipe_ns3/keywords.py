"""The keywords that somebody else's function takes, as a model that checks them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from collapipe_ns3.problems import Place, Problem, from_pydantic, path_of


def model_of(function: Callable[..., Any], name: str, skip: int = 0) -> type[BaseModel]:
    """A field for each parameter but the first `skip`, of its type and with its default."""
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


def problems(model: type[BaseModel], settings: Mapping[str, Any], at: Place) -> Iterator[Problem]:
    """Everything wrong with settings for such a model, which stand at this place of a study."""
    try:
        model.model_validate(dict(settings))
    except ValidationError as error:
        for place, problem in from_pydantic(error, lambda place: model.model_fields):
            yield Problem(path_of((*at, *place)), problem.message)
