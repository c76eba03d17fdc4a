"""Reads studies: YAML to a checked configuration, with all errors reported at once."""

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
from collapipe_ns3.reading.section_lookup import keys_at, section_at, spelled_out

_SUFFIXES = (".yaml", ".yml")
_PASSES = 4  # over a study, each with the errors of the earlier ones repaired


def bundled() -> dict[str, str]:
    """The text of each bundled study, by name."""
    folder = files("collapipe_ns3") / "studies"
    texts = [(each.name, each) for each in folder.iterdir() if each.name.endswith(".yaml")]
    return {name.removesuffix(".yaml"): each.read_text("utf-8") for name, each in sorted(texts)}


def catalogue() -> dict[str, StudyConfig]:
    """The bundled studies by name, validated in form only; tests check that they can be run."""
    documents = {name: yaml_text.parse(text)[0] for name, text in bundled().items()}
    return {name: StudyConfig.model_validate(each.data) for name, each in documents.items()}


@dataclass(frozen=True, slots=True)
class LoadedStudy:
    """A checked configuration, and the origins of its keys."""

    config: StudyConfig
    origins: Origins


def read(study: str, sets: Sequence[str] = (), scheme: str | None = None) -> StudyConfig:
    """The bundled study of this name, or the study in this file, changed by `sets` (`a.b=value`).

    Where a scheme is named that the study does not have, it gets its default settings. Raises
    `StudyError` with all problems.
    """
    return load(study, sets, scheme).config


def load(study: str, sets: Sequence[str] = (), scheme: str | None = None) -> LoadedStudy:
    """Reads a study as `read` does, with the origins of its keys."""
    text, folder = _text(study)
    return load_text(study, text, sets, scheme, folder, file=study)


def written_scheme(study: str) -> Scheme:
    """The scheme that a study file names, the default one where its entry is malformed."""
    document, _ = yaml_text.parse(_text(study)[0])
    data = document.data if isinstance(document.data, dict) else {}
    try:
        return Scheme.model_validate(data.get("scheme", {}))
    except ValidationError:
        return Scheme()


def parse(study: str, text: str, sets: Sequence[str] = (), folder: Path = Path()) -> StudyConfig:
    """The study that this YAML describes; errors call it `study`. Raises `StudyError`."""
    return load_text(study, text, sets, folder=folder).config


def load_text(
    study: str,
    text: str,
    sets: Sequence[str] = (),
    scheme: str | None = None,
    folder: Path = Path(),
    file: str = "",
) -> LoadedStudy:
    """Reads YAML as `parse` does, with the origins of the study's keys, which are in `file`."""
    try:
        document, found = yaml_text.parse(text)
    except yaml_text.BadYaml as error:
        raise StudyError(study, [replace(error.problem, file=file)]) from None
    data = document.data
    if not isinstance(data, dict):
        problem = Problem("", "expected keys with values, as in `rounds: 10`", file, 1)
        raise StudyError(study, [problem])
    section = spelled_out(data.get("scheme"), ("scheme",))
    named = section.get("name", Scheme().name) if isinstance(section, dict) else None
    overrides = Overrides(data)
    if scheme is not None and scheme != named:
        overrides.put_scheme(scheme)
    for setting in sets:
        overrides.put(setting)
    config, more = check(data, folder)
    reported = {problem.path for problem in found}  # their values are None in the data
    found += [problem for problem in more if problem.path not in reported]
    origins = Origins(file, document, (overrides,))
    if config is None or found or overrides.problems:
        raise StudyError(study, [*overrides.problems, *origins.located(found)])
    return LoadedStudy(config, origins)


def check(data: object, folder: Path = Path()) -> tuple[StudyConfig | None, list[Problem]]:
    """The configuration that `data` describes, and all of its problems.

    To report all problems at once, malformed values are left out, or replaced by examples where
    they are required, and the rest is checked without them. The configuration is None where any
    value is malformed. File names in the study are relative to `folder`.
    """
    # Imported here, as this module imports everything about radios and schemes.
    from collapipe_ns3.reading.checks import optimizer_problems, task_problems

    wrong = list(task_problems(data))
    if of_optimizer := list(optimizer_problems(data)):
        wrong += of_optimizer
        keys = ("optimizer", "optimizer_settings")
        data = _without(data, [("training", key) for key in keys], replace=False)
    config, found = _checked(data, folder)
    complete = None if config is None or wrong else with_task_defaults(config)
    return complete, [*wrong, *found]


def _checked(data: object, folder: Path) -> tuple[StudyConfig | None, list[Problem]]:
    """`check`, without the settings of the task and the optimizer."""
    from collapipe_ns3.reading.checks import problems
    from collapipe_ns3.reading.fault_file import with_file
    from collapipe_ns3.reading.mobility_trace import with_trajectories

    found: dict[Place, Problem] = {}
    for _ in range(_PASSES):
        try:
            config = StudyConfig.model_validate(data)
            faults, in_form = list(kind_problems(config)), True
            new = [fault for fault in faults if not _of_unknown_kind(fault[0], found)]
        except ValidationError as error:
            faults, in_form = from_pydantic(error, keys_at), False
            new = [] if found else faults
        if not faults:
            moving, of_files = with_trajectories(config, folder)
            complete, of_faults = with_file(moving, folder)
            # The rest of the study was checked with examples at places that are wrong.
            known = {problem.path for problem in found.values()}
            others = [each for each in problems(complete) if each.path not in known]
            of_files += of_faults
            return None if found else complete, [*found.values(), *of_files, *others]
        for place, problem in new:
            found.setdefault(place, problem)
        if len(faults) > MOST_IN_FORM:
            break
        data = _without(data, [place for place, _ in faults], replace=not in_form)
    return None, list(found.values())


def _of_unknown_kind(place: Place, found: Iterable[Place]) -> bool:
    """Whether the kind of the section at this place is wrong, so that its keys are unknown."""
    section = section_at(place[:-1])
    return section is not None and (*place[:-1], section.chooses) in found


def resolved(config: StudyConfig) -> StudyConfig:
    """The study with the default settings of its scheme, task and own scenario filled in.

    Settings whose default can't be written in a study file are still left out.
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


def with_task_defaults(config: StudyConfig) -> StudyConfig:
    """The study with all settings of its task, in the order of the task's own parameters."""
    from collapipe_ns3 import keywords
    from collapipe_ns3.learning import registry

    task = config.task
    model = registry.settings_model(task.name)
    given = {**keywords.plain_defaults(model), **task.settings}
    settings = {name: given[name] for name in model.model_fields if name in given}
    return config.model_copy(update={"task": type(task)(name=task.name, **settings)})


def dump(config: StudyConfig) -> str:
    """The whole configuration with all defaults as YAML; `parse` reads it back unchanged."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _text(study: str) -> tuple[str, Path]:
    """The text of a study, and the folder that file names in it are relative to."""
    path = Path(study)
    try:
        if path.suffix in _SUFFIXES or "/" in study or path.is_file():
            return path.read_text("utf-8"), path.parent
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or not a valid file name
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise StudyError(study, [Problem("", f"can't be read: {reason}")]) from None
    known = bundled()
    if study not in known:
        hint = did_you_mean(study, known)
        raise StudyError(study, [Problem("", f"no bundled study, and no such file; {hint}")])
    return known[study], Path()


def _without(data: Any, places: Iterable[Place], *, replace: bool) -> Any:
    """A copy of `data` without the values at these places, or with the schema's examples there.

    An example is put where a value is missing; with `replace`, also where there is one.
    """
    data = copy.deepcopy(data)
    for place in places:
        _repair(data, place, replace=replace)
    return data


def _repair(data: Any, place: Place, *, replace: bool) -> None:
    while place and isinstance(place[-1], int):  # a list goes as a whole: other indices stay valid
        place = place[:-1]
    here = data
    for depth, part in enumerate(place[:-1], start=1):
        if part not in (range(len(here)) if isinstance(here, list) else here):
            return  # removed already, with a section around it
        here[part] = spelled_out(here[part], place[:depth])
        here = here[part]
    if place and isinstance(here, dict):
        existed = here.pop(place[-1], None) is not None
        section = section_at(place[:-1])
        field = section.model_fields.get(str(place[-1])) if section is not None else None
        if field is not None and field.examples and (replace or not existed):
            here[place[-1]] = field.examples[0]
