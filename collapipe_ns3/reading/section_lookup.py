"""Finds the section of the study file at a place, and its keys."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from collapipe_ns3.config.section import Section
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.problems import Place


def spelled_out(value: Any, place: Place) -> Any:
    """A section's shorthand as the mapping that it abbreviates; any other value unchanged."""
    section = section_at(place)
    if section is not None and section.shorthand and isinstance(value, str):
        return {section.shorthand: value}
    return {} if value is None else value


def keys_at(place: Place) -> Iterable[str]:
    """The valid keys of the section at a place; none where there is no section."""
    section = section_at(place)
    return section.model_fields if section is not None else ()


def section_at(place: Place) -> type[Section] | None:
    """The section of the study file at a place; None where there is none."""
    here: Any = StudyConfig
    for part in place:
        section = _section_in(here)
        if section is not None and part in section.model_fields:
            here = section.model_fields[str(part)].annotation
        elif isinstance(part, int):
            here = get_args(here)[0] if get_args(here) else None
        else:
            return None
    return _section_in(here)


def _section_in(annotation: Any) -> type[Section] | None:
    """The section class in a type annotation, which may be a union or `Annotated`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if issubclass(annotation, Section) else None
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return next(filter(None, map(_section_in, get_args(annotation))), None)
    return None
