"""Finds the runs in directories: a run, a campaign, or a folder that holds several of them."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from run_directory.whole import NotARun, is_begun

#: The file that lists the runs of a campaign, and the folder that they are in.
CAMPAIGN = "campaign.json"
CELLS = "cells"

#: The name of a campaign's run, in which nothing was shortened: keys have no dashes.
_NAME = re.compile(r".+?-seed\d+(?P<point>(?:-[A-Za-z_][\w.]*=[^=]*)*)")
_SETTING = re.compile(r"-(?P<key>[A-Za-z_][\w.]*)=(?P<value>[^=]*?)(?=-[A-Za-z_][\w.]*=|$)")

#: The end of a name that was shortened, so that it no longer has all settings.
_DIGEST = re.compile(r"-[0-9a-f]{16}$")

#: The settings of a campaign's grid, by the names of its runs.
Points = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is, and the settings of its campaign's grid; none outside campaigns."""

    directory: Path
    point: Mapping[str, str] = field(default_factory=dict)


def places_in(directories: Iterable[Path]) -> tuple[list[Place], list[NotARun]]:
    """The runs in these directories, each once, and why in some of them none can be found.

    A directory is a run, a campaign, or a folder that holds runs and campaigns, which are taken in
    the order of their names.
    """
    read = cache(_points)
    found: dict[Path, Place] = {}
    errors: list[NotARun] = []
    for directory in (each for given in directories for each in _inside(given)):
        try:
            for place in _places(directory, read):
                found.setdefault(_absolute(place.directory), place)
        except NotARun as error:
            errors.append(error)
    return list(found.values()), errors


def unique_names(directories: Iterable[Path]) -> list[str]:
    """A name for each directory: its own, after those of its parents where that is not enough.

    The folder `cells` of a campaign is left out: `one/pipeline-seed0` and `other/pipeline-seed0`.
    """
    paths = [_absolute(directory) for directory in directories]
    parts = [[part for part in path.parts if part != CELLS] for path in paths]
    names = [path.name for path in paths]
    for length in range(2, max(map(len, parts), default=0) + 1):
        count = Counter(names)
        names = [
            "/".join(own[-length:]) if count[name] > 1 else name
            for name, own in zip(names, parts, strict=True)
        ]
    count = Counter(names)  # `cells` may be all that distinguishes two
    return [
        name if count[name] == 1 else str(path) for name, path in zip(names, paths, strict=True)
    ]


def _absolute(path: Path) -> Path:
    """The path without `.` and `..`; links keep their own names."""
    return Path(os.path.abspath(path))  # noqa: PTH100  # `resolve` follows links


def _inside(directory: Path) -> list[Path]:
    """The runs and campaigns directly inside a folder; else the directory itself."""
    if not directory.is_dir() or _is_run_or_campaign(directory):
        return [directory]
    inside = sorted(child for child in directory.iterdir() if _is_run_or_campaign(child))
    return inside or [directory]


def _is_run_or_campaign(directory: Path) -> bool:
    return (directory / CAMPAIGN).exists() or is_begun(directory)


def _places(directory: Path, read: Callable[[Path], Points]) -> list[Place]:
    if not directory.is_dir():
        raise NotARun(f"{directory} is no run directory: {_what_is_there(directory)}")
    if not _is_run_or_campaign(directory):
        what = f"neither it nor any folder in it has a study.yaml or a {CAMPAIGN}"
        raise NotARun(f"{directory} is no run directory: {what}")
    if (directory / CAMPAIGN).exists():
        points = read(directory)
        return [Place(directory / CELLS / name, point) for name, point in points.items()]
    return [Place(directory, _point_of(_absolute(directory), read))]


def _what_is_there(path: Path) -> str:
    if path.exists():
        return "it is a file"
    if any(character in str(path) for character in "*?["):
        return "there is no such directory; patterns are not expanded, as by Path().glob(…)"
    return "there is no such directory"


def _point_of(run: Path, read: Callable[[Path], Points]) -> Mapping[str, str]:
    """The point of a run that was given without its campaign."""
    campaign = run.parent.parent
    if run.parent.name != CELLS or not (campaign / CAMPAIGN).exists():
        return {}
    try:
        return read(campaign).get(run.name, {})
    except NotARun:  # the campaign's file is damaged, but not the run
        return {}


def _points(campaign: Path) -> Points:
    """The runs of a campaign with their points; raises `NotARun` for a damaged file.

    Versions before the points were recorded had them in the names of the runs only.
    """
    try:
        listed: Any = json.loads((campaign / CAMPAIGN).read_bytes())
        names = list(listed["cells"])
        recorded: Any = listed.get("points")
        if recorded is not None:
            return {name: {**recorded[name]} for name in names}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        hint = f"its runs can be loaded from {campaign / CELLS}"
        message = f"{campaign / CAMPAIGN} can't be read as that of a campaign; {hint}"
        raise NotARun(message) from None
    points = {name: _point_in(name) for name in names}
    is_known = None not in points.values()
    return {name: (point or {}) if is_known else {} for name, point in points.items()}


def _point_in(name: str) -> dict[str, str] | None:
    """The settings in the name of a run; None where it may not have all."""
    match = _NAME.fullmatch(name)
    if match is None or _DIGEST.search(name):
        return None
    return {each["key"]: each["value"] for each in _SETTING.finditer(match["point"])}
