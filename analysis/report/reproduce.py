"""The commands that make the runs of a report again, and the environment that they ran in."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.differences import differences, flat
from analysis.load import Run, Runs

#: Keys that options of their own set.
_OPTIONS = ("seed", "scheme.name")

#: At most so many names of runs are in a cell of a table.
_MOST_NAMES = 6

#: The settings of a scheme; `compare` gives each only to the schemes that have it.
_SETTINGS = "scheme.settings."


def commands(runs: Runs) -> list[str]:
    """Shell commands that make these runs again from `study.yaml`, the study of the first run.

    One `compare` where the runs are all schemes with all seeds at all points of a grid, else a
    `run` for each.
    """
    members = runs.runs
    together = _compare(members)
    if together is not None:
        return [together]
    return [_run(run, members[0], differences(members)) for run in members]


def environment(runs: Runs) -> list[tuple[str, str, str]]:
    """What the runs were made with: name, value, and which runs where the values differ."""
    found: dict[str, dict[str, list[str]]] = {}
    for run in runs.runs:
        for name, value in _environment_of(run.manifest):
            found.setdefault(name, {}).setdefault(value, []).append(run.name)
    return [
        (name, value, "all" if len(names) == len(runs) else some_of(names))
        for name, values in found.items()
        for value, names in values.items()
    ]


def some_of(names: Sequence[str]) -> str:
    """The names, of many the first ones and how many more there are."""
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[: _MOST_NAMES - 1])} and {len(names) - _MOST_NAMES + 1} more"


def _compare(members: Sequence[Run]) -> str | None:
    schemes = list(dict.fromkeys(run.scheme for run in members))
    seeds = list(dict.fromkeys(run.seed for run in members))
    grid: dict[str, list[str]] = {}
    for run in members:
        for key, value in run.point.items():
            values = grid.setdefault(key, [])
            if value not in values:
                values.append(value)
    wanted = set(itertools.product(schemes, seeds, *grid.values()))
    there = {(run.scheme, run.seed, *(run.point.get(key, "") for key in grid)) for run in members}
    varied = {
        key
        for key in differences(members)
        if key not in (*_OPTIONS, *grid) and not key.startswith(_SETTINGS)
    }
    settings = {item for run in members for item in _settings_of(run) if item[0] not in grid}
    is_clear = len(dict(settings)) == len(settings)
    if len(members) < 2 or there != wanted or len(there) != len(members) or varied or not is_clear:
        return None
    words = ["collapipe-ns3", "compare", "study.yaml", "--schemes", ",".join(schemes)]
    words += ["--seeds", ",".join(map(str, seeds))]
    for key, values in grid.items():
        words += ["--grid", f"{key}={','.join(values)}"]
    for key, value in sorted(settings):
        words += ["--set", f"{key}={value}"]
    return shlex.join([*words, "--out", "again"])


def _run(run: Run, base: Run, differing: Mapping[str, Sequence[str]]) -> str:
    words = ["collapipe-ns3", "run", "study.yaml"]
    if differing:
        words += ["--scheme", run.scheme, "--seed", str(run.seed)]
    own = {key: value for key, value in flat(run.study) if key in differing}
    if run.scheme != base.scheme:  # another scheme begins without settings
        own |= dict(_settings_of(run))
    for key, value in own.items():
        if key not in _OPTIONS:
            words += ["--set", f"{key}={value}"]
    return shlex.join([*words, "--out", f"again/{run.name}" if differing else "again"])


def _settings_of(run: Run) -> list[tuple[str, str]]:
    """The settings of a run's scheme, by their keys in the study."""
    return [(key, value) for key, value in flat(run.study) if key.startswith(_SETTINGS)]


def _environment_of(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions, machine = manifest.get("versions", {}), manifest.get("machine", {})
    pairs = {
        "commit": manifest.get("git_commit"),
        "Python": manifest.get("python"),
        **versions,
        "torch device": manifest.get("device"),
        **{str(name): value for name, value in machine.items()},
        "format of the run directory": manifest.get("format"),
    }
    return [(name, str(value)) for name, value in pairs.items() if value not in (None, "")]
