"""Reads studies: YAML to a checked configuration, with every error found at once."""

from __future__ import annotations

import copy
import re
import types
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from collapipe_ns3.checks import problems
from collapipe_ns3.config import Scheme, StudyConfig
from collapipe_ns3.movement import with_ways
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.problems import Place, Problem, StudyError, from_pydantic
from collapipe_ns3.section import Section, kind_problems

_SUFFIXES = (".yaml", ".yml")
_REPAIRS = 4  # looks at a study, each with what the last one found wrong repaired


def bundled() -> dict[str, str]:
    """The text of each bundled study, by name."""
    folder = files("collapipe_ns3") / "studies"
    texts = [(each.name, each) for each in folder.iterdir() if each.name.endswith(".yaml")]
    return {name.removesuffix(".yaml"): each.read_text("utf-8") for name, each in sorted(texts)}


def read(study: str, sets: Sequence[str] = (), scheme: str | None = None) -> StudyConfig:
    """The study of this bundled name or in this file, with `a.b=value` settings put on top.

    With another scheme, and its own default settings, where one is named. Raises `StudyError` with
    everything that is wrong.
    """
    text, folder = _text(study)
    return parse(study, text, sets, scheme, folder)


def parse(
    study: str,
    text: str,
    sets: Sequence[str] = (),
    scheme: str | None = None,
    folder: Path = Path(),
) -> StudyConfig:
    """The study that this YAML describes; `study` is what errors call it. Raises `StudyError`."""
    data, found = _parsed(study, text), list[Problem]()
    given = _spelled_out(data.get("scheme"), ("scheme",))
    named = given.get("name", Scheme().name) if isinstance(given, dict) else None
    if scheme not in (None, named):
        data["scheme"] = {"name": scheme}
    for setting in sets:
        found += _put(data, setting)
    config, more = check(data, folder)
    if config is None or found or more:
        raise StudyError(study, [*found, *more])
    return config


def check(data: object, folder: Path = Path()) -> tuple[StudyConfig | None, list[Problem]]:
    """The configuration that `data` describes, and everything wrong with it.

    What is wrong in form is left out (a stand-in taken for what is needed), and the rest checked
    without it: one look shows all. The configuration is None where anything is wrong in form.
    Paths in the study are relative to `folder`.
    """
    found: dict[Place, Problem] = {}
    for _ in range(_REPAIRS):
        try:
            config = StudyConfig.model_validate(data)
            faults, in_form = list(kind_problems(config)), True
            new = [fault for fault in faults if not _of_unknown_kind(fault[0], found)]
        except ValidationError as error:
            faults, in_form = from_pydantic(error, _keys_at), False
            new = [] if found else faults
        if not faults:
            moving, problems_of_trace = with_ways(config, folder)
            said = [*found.values(), *problems_of_trace, *problems(moving)]
            return None if found else moving, said
        for place, problem in new:
            found.setdefault(place, problem)
        for place, _ in faults:
            data = _repaired(data, place, replace=not in_form)
    return None, list(found.values())


def _of_unknown_kind(place: Place, found: Iterable[Place]) -> bool:
    """Whether the kind of the section at this place was wrong, so that nobody knows its keys."""
    section = _section_at(place[:-1])
    return section is not None and (*place[:-1], section.chooses) in found


def dump(config: StudyConfig) -> str:
    """The whole configuration as YAML, defaults included; reading it gives the same again."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as people mean it: 1e-3 is a number, and no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice!r} stands twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _yaml(text: str) -> Any:
    """Plain data; raises `YAMLError`, and `ValueError` where a value can't be one."""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except (ValueError, ArithmeticError) as error:  # a date that is none, a number too long
        raise ValueError(f"a value can't be read: {error}") from None


def _text(study: str) -> tuple[str, Path]:
    """A study's text, and the folder that paths in it are relative to."""
    path = Path(study)
    try:
        if path.suffix in _SUFFIXES or "/" in study or path.is_file():
            return path.read_text("utf-8"), path.parent
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name that can't be one
        reason = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
        raise StudyError(study, [Problem("", f"can't be read: {reason}")]) from None
    known = bundled()
    if study not in known:
        hint = did_you_mean(study, known)
        raise StudyError(study, [Problem("", f"no bundled study, and no such file; {hint}")])
    return known[study], Path()


def _parsed(study: str, text: str) -> dict[str, Any]:
    try:
        data = _yaml(text)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f"line {place.line + 1}, column {place.column + 1}" if place else ""
        said = getattr(error, "problem", None) or str(error)
        raise StudyError(study, [Problem(where, said)]) from None
    except ValueError as error:
        raise StudyError(study, [Problem("", str(error))]) from None
    if not isinstance(data, dict):
        raise StudyError(study, [Problem("", "expected keys with values, as in `rounds: 10`")])
    return data


def _put(data: Any, setting: str) -> list[Problem]:
    """Sets `a.b[0].c=value` in the raw data; the problems with doing so."""
    path, given, text = setting.partition("=")
    parts = [part for part in re.split(r"[.\[\]]+", path) if part]
    if path.startswith("ns3.") and "::" in path:  # attribute names are one key
        parts = ["ns3", path.removeprefix("ns3.")]
    if not given or not parts:
        return [Problem("", f"--set {setting}: expected a.b=value")]
    try:
        value = _yaml(text)
    except (yaml.YAMLError, ValueError):
        return [Problem(path, f"--set: {text!r} is no YAML value")]
    here, place = data, Place()
    for part in parts[:-1]:
        if isinstance(here, list):
            if not (part.isdigit() and int(part) < len(here)):
                return [Problem(path, f"--set: there are {len(here)}, counted from 0, no {part}")]
            key: str | int = int(part)
        else:
            key = part
            here.setdefault(key, {})
        place = (*place, key)
        here[key] = _spelled_out(here[key], place)
        here = here[key]
        if not isinstance(here, dict | list):
            return [Problem(path, f"--set: {part} is {here!r} and has no keys")]
    last = parts[-1]
    if isinstance(here, list):
        if not (last.isdigit() and int(last) < len(here)):
            return [Problem(path, f"--set: there are {len(here)}, counted from 0, no {last}")]
        here[int(last)] = value
    else:
        here[last] = value
    return []


def _spelled_out(value: Any, place: Place) -> Any:
    """What a section's shorthand stands for; anything else as it is."""
    section = _section_at(place)
    if section is not None and section.shorthand and isinstance(value, str):
        return {section.shorthand: value}
    return {} if value is None else value


def _keys_at(place: Place) -> Iterable[str]:
    section = _section_at(place)
    return section.model_fields if section is not None else ()


def _section_at(place: Place) -> type[Section] | None:
    """The section of the study file at a place, where there is one."""
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
    """The section that an annotation names, by itself or among others."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if issubclass(annotation, Section) else None
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return next(filter(None, map(_section_in, get_args(annotation))), None)
    return None


def _repaired(data: Any, place: Place, *, replace: bool) -> Any:
    """A copy of `data` without what is at a place, or with the schema's example there.

    The example comes where something is missing; with `replace` in the place of what is there too.
    """
    while place and isinstance(place[-1], int):  # lists go whole, for the others keep their index
        place = place[:-1]
    data = here = copy.deepcopy(data)
    for depth, part in enumerate(place[:-1], start=1):
        if part not in (range(len(here)) if isinstance(here, list) else here):
            return data  # gone already, with what was repaired before
        here[part] = _spelled_out(here[part], place[:depth])
        here = here[part]
    if place and isinstance(here, dict):
        there = here.pop(place[-1], None) is not None
        section = _section_at(place[:-1])
        field = section.model_fields.get(str(place[-1])) if section is not None else None
        if field is not None and field.examples and (replace or not there):
            here[place[-1]] = field.examples[0]
    return data
