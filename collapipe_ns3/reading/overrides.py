"""Overrides values of a study's data by path: `a.b[0].c`."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

from collapipe_ns3.problems import Place, Problem, path_of, shown
from collapipe_ns3.reading import yaml_text
from collapipe_ns3.reading.section_lookup import spelled_out

_LONGEST_SHOWN = 60


class Overrides:
    """Changes `data` in place by options and keywords, and records which option set which path."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.problems: list[Problem] = []
        self._data = data
        self._options: dict[str, str] = {}  # by path, the latest last

    def put(self, setting: str) -> None:
        """Sets one key by `a.b=value`, a YAML value; errors are added to `problems`."""
        path, equals, text = setting.partition("=")
        option = f"--set {_short(setting)}"
        self._put(option, path if equals else "", lambda: _value(path, text))

    def put_value(self, path: str, value: Any) -> None:
        """Sets one key to a value of plain data, or to a number or array of numpy."""
        plain = value.tolist() if hasattr(value, "tolist") else value
        option = _short(f"{path} = {shown(plain)}")
        self._put(option, path, lambda: copy.deepcopy(plain))

    def put_scheme(self, name: str) -> None:
        """Sets another scheme, with its default settings."""
        self._put(f"--scheme {_short(name)}", "scheme", lambda: {"name": name})

    def _put(self, option: str, path: str, read: Callable[[], Any]) -> None:
        try:
            place = self._set(path, read)
        except _BadOverride as error:
            self.problems.append(Problem(error.path, str(error), option))
        else:
            self._options[path_of(place)] = option

    def option_of(self, path: str) -> str | None:
        """The option that set the value at a path, or the nearest section around it."""
        found = (
            option
            for place, option in reversed(self._options.items())
            if path == place or path.startswith((f"{place}.", f"{place}["))
        )
        return next(found, None)

    def _set(self, path: str, read: Callable[[], Any]) -> Place:
        parts = [part for part in re.split(r"[.\[\]]+", path) if part]
        if path.startswith("ns3.") and "::" in path:  # attribute names are one key
            parts = ["ns3", path.removeprefix("ns3.")]
        if not parts:
            raise _BadOverride("", "expected a.b=value")
        if len(parts) > yaml_text.DEEPEST or max(map(len, parts)) > yaml_text.LONGEST_KEY:
            raise _BadOverride("", "no such key")
        value = read()
        here: Any = self._data
        place: Place = ()
        for part in parts[:-1]:
            key = _key(here, part, path)
            if isinstance(here, dict):
                here.setdefault(key, {})
            place = (*place, key)
            here[key] = spelled_out(here[key], place)
            here = here[key]
            if not isinstance(here, dict | list):
                raise _BadOverride(path, f"{part} is {_short(repr(here))} and has no keys")
        last = _key(here, parts[-1], path)
        here[last] = value
        return (*place, last)


class _BadOverride(ValueError):
    def __init__(self, path: str, message: str) -> None:
        self.path = path
        super().__init__(message)


def _value(path: str, text: str) -> Any:
    try:
        document, found = yaml_text.parse(text)
    except yaml_text.BadYaml:
        raise _BadOverride(path, f"{_short(text)!r} is no YAML value") from None
    if found:
        raise _BadOverride(path, found[0].message)
    return document.data


def _key(here: Any, part: str, path: str) -> str | int:
    """A part of a path as a key of the mapping `here`, or as an index of the list `here`."""
    if not isinstance(here, list):
        return part
    if not re.fullmatch("[0-9]{1,9}", part) or int(part) >= len(here):
        raise _BadOverride(path, f"there are {len(here)}, counted from 0, no {part}")
    return int(part)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
