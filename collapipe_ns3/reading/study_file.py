"""Reads studies: YAML to a checked configuration, with every error found at once."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from collapipe_ns3.config.section import kind_problems
from collapipe_ns3.config.study import Scheme, StudyConfig
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.problems import MOST_IN_FORM, Place, Problem, StudyError, from_pydantic
from collapipe_ns3.reading import yaml_text
from collapipe_ns3.reading.origins import Origins
from collapipe_ns3.reading.overrides import Overrides
from collapipe_ns3.reading.places import keys_at, section_at, spelled_out

_SUFFIXES = (".yaml", ".yml")
_REPAIRS = 4  # looks at a study, each with what the last one found wrong repaired


def bundled() -> dict[str, str]:
    """The text of each bundled study, by name."""
    folder = files("collapipe_ns3") / "studies"
    texts = [(each.name, each) for each in folder.iterdir() if each.name.endswith(".yaml")]
    return {name.removesuffix(".yaml"): each.read_text("utf-8") for name, each in sorted(texts)}


def catalogue() -> dict[str, StudyConfig]:
    """The bundled studies by name, as they are written: that they can be run is tested."""
    documents = {name: yaml_text.parse(text)[0] for name, text in bundled().items()}
    return {name: StudyConfig.model_validate(each.data) for name, each in documents.items()}


@dataclass(frozen=True, slots=True)
class Opened:
    """A study that was read, and where its keys are written."""

    config: StudyConfig
    origins: Origins


def read(study: str, sets: Sequence[str] = (), scheme: str | None = None) -> StudyConfig:
    """The study of this bundled name or in this file, with `a.b=value` settings put on top.

    With another scheme, and its own default settings, where one is named. Raises `StudyError` with
    everything that is wrong.
    """
    return opened(study, sets, scheme).config


def opened(study: str, sets: Sequence[str] = (), scheme: str | None = None) -> Opened:
    """As `read`, with the origins of the study's keys."""
    text, folder = _text(study)
    return understood(study, text, sets, scheme, folder, file=study)


def written_scheme(study: str) -> Scheme:
    """The scheme that a study is written with, its default where that is none in form."""
    document, _ = yaml_text.parse(_text(study)[0])
    data = document.data if isinstance(document.data, dict) else {}
    try:
        return Scheme.model_validate(data.get("scheme", {}))
    except ValidationError:
        return Scheme()


def parse(study: str, text: str, sets: Sequence[str] = (), folder: Path = Path()) -> StudyConfig:
    """The study that this YAML describes; `study` is what errors call it. Raises `StudyError`."""
    return understood(study, text, sets, folder=folder).config


def understood(
    study: str,
    text: str,
    sets: Sequence[str] = (),
    scheme: str | None = None,
    folder: Path = Path(),
    file: str = "",
) -> Opened:
    """As `parse`, with the origins of the study's keys, which are written in `file`."""
    try:
        document, found = yaml_text.parse(text)
    except yaml_text.BadYaml as error:
        raise StudyError(study, [replace(error.problem, file=file)]) from None
    data = document.data
    if not isinstance(data, dict):
        problem = Problem("", "expected keys with values, as in `rounds: 10`", file, 1)
        raise StudyError(study, [problem])
    given = spelled_out(data.get("scheme"), ("scheme",))
    named = given.get("name", Scheme().name) if isinstance(given, dict) else None
    overrides = Overrides(data)
    if scheme is not None and scheme != named:
        overrides.put_scheme(scheme)
    for setting in sets:
        overrides.put(setting)
    config, more = check(data, folder)
    told = {problem.path for problem in found}  # of these None stands in the data
    found += [problem for problem in more if problem.path not in told]
    origins = Origins(file, document, (overrides,))
    if config is None or found or overrides.problems:
        raise StudyError(study, [*overrides.problems, *origins.located(found)])
    return Opened(config, origins)


def check(data: object, folder: Path = Path()) -> tuple[StudyConfig | None, list[Problem]]:
    """The configuration that `data` describes, and everything wrong with it.

    What is wrong in form is left out (a stand-in taken for what is needed), and the rest checked
    without it: one look shows all. The configuration is None where anything is wrong in form.
    Paths in the study are relative to `folder`.
    """
    # Only now: they import all that knows of radios and schemes.
    from collapipe_ns3.reading.checks import problems
    from collapipe_ns3.reading.movement import with_trajectories

    found: dict[Place, Problem] = {}
    for _ in range(_REPAIRS):
        try:
            config = StudyConfig.model_validate(data)
            faults, in_form = list(kind_problems(config)), True
            new = [fault for fault in faults if not _of_unknown_kind(fault[0], found)]
        except ValidationError as error:
            faults, in_form = from_pydantic(error, keys_at), False
            new = [] if found else faults
        if not faults:
            moving, problems_of_trace = with_trajectories(config, folder)
            said = [*found.values(), *problems_of_trace, *problems(moving)]
            return None if found else moving, said
        for place, problem in new:
            found.setdefault(place, problem)
        if len(faults) > MOST_IN_FORM:
            break
        data = _without(data, [place for place, _ in faults], replace=not in_form)
    return None, list(found.values())


def _of_unknown_kind(place: Place, found: Iterable[Place]) -> bool:
    """Whether the kind of the section at this place was wrong, so that nobody knows its keys."""
    section = section_at(place[:-1])
    return section is not None and (*place[:-1], section.chooses) in found


def resolved(config: StudyConfig) -> StudyConfig:
    """The study with the settings of its scheme, and of its own scenario, that it leaves out.

    Those of which the default can't be written in a study file are still left out.
    """
    from collapipe_ns3 import keywords, schemes
    from collapipe_ns3.topology import own_scenario

    model = schemes.settings_model(config.scheme.name)
    settings = {**keywords.plain_defaults(model), **config.scheme.settings}
    changes: dict[str, Any] = {"scheme": config.scheme.model_copy(update={"settings": settings})}
    if config.scenario is not None:
        function = own_scenario.find(config.scenario.function)
        model = keywords.model_of(function, "scenario", skip=1)
        settings = {**keywords.plain_defaults(model), **config.scenario.settings}
        changes["scenario"] = config.scenario.model_copy(update={"settings": settings})
    return config.model_copy(update=changes)


def dump(config: StudyConfig) -> str:
    """The whole configuration as YAML, defaults included; reading it gives the same again."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


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


def _without(data: Any, places: Iterable[Place], *, replace: bool) -> Any:
    """A copy of `data` without what is at these places, or with the schema's examples there.

    An example comes where something is missing; with `replace` in the place of what is there too.
    """
    data = copy.deepcopy(data)
    for place in places:
        _repair(data, place, replace=replace)
    return data


def _repair(data: Any, place: Place, *, replace: bool) -> None:
    while place and isinstance(place[-1], int):  # lists go whole, for the others keep their index
        place = place[:-1]
    here = data
    for depth, part in enumerate(place[:-1], start=1):
        if part not in (range(len(here)) if isinstance(here, list) else here):
            return  # gone already, with what was repaired before
        here[part] = spelled_out(here[part], place[:depth])
        here = here[part]
    if place and isinstance(here, dict):
        there = here.pop(place[-1], None) is not None
        section = section_at(place[:-1])
        field = section.model_fields.get(str(place[-1])) if section is not None else None
        if field is not None and field.examples and (replace or not there):
            here[place[-1]] = field.examples[0]
