"""The commands that make the runs of a report again, and the environment that they ran in."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.differences import flat, unexplained
from analysis.load import Run, Runs

#: The settings of a scheme; `compare` gives each only to the schemes that have it.
_SETTINGS = "scheme.settings."

_STUDY = "study.yaml"

#: At most so many names of runs are in a cell of a table.
_MOST_NAMES = 6


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Shell commands that make runs again, and the study files that they read, by their names."""

    commands: Sequence[str]
    studies: Mapping[str, str]


def reproduction(runs: Runs) -> Reproduction:
    """How to make these runs again from their resolved studies.

    One `compare` with the study of the first run where the runs are all schemes with all seeds at
    all points of a grid; else a `run` for each, with a study of its own.
    """
    members = runs.runs
    together = _compare(members)
    if together is not None:
        return Reproduction([together], {_STUDY: members[0].whole.study})
    if len(members) == 1:
        return Reproduction([_run(_STUDY, "again")], {_STUDY: members[0].whole.study})
    files = {f"study-{number}.yaml": run for number, run in enumerate(members, start=1)}
    return Reproduction(
        [_run(name, f"again/{run.name}") for name, run in files.items()],
        {name: run.whole.study for name, run in files.items()},
    )


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
    varied = unexplained(members).keys() - grid.keys()
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


def _run(study: str, folder: str) -> str:
    return shlex.join(["collapipe-ns3", "run", study, "--out", folder])


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
