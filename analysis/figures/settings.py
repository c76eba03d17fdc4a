"""Divides runs into those that may be compared: of the same study, task and point of a grid."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.differences import unexplained
from analysis.figures.style import CannotDraw
from analysis.load import Run, Runs
from run_directory.roles import Role, role_or_none

__all__ = [
    "Setting",
    "by_number",
    "chosen",
    "is_device",
    "largest_devices",
    "settings_of",
    "shortened",
    "wrapped",
]

#: Keys of a study in which runs of a setting may differ: each counts with the mean over its own
#: rounds.
_COMPARED = ("rounds", "description")


@dataclass(frozen=True)
class Setting:
    """Runs that differ only by scheme and seed.

    `label` says in which study, task and settings they differ from the other runs that are drawn;
    it is empty where there are no others. `study` is the name of their study.
    """

    label: str
    study: str
    runs: Runs

    @property
    def schemes(self) -> list[str]:
        """The schemes, in the order of the runs."""
        return list(dict.fromkeys(run.scheme for run in self.runs.runs))

    def of_scheme(self, scheme: str) -> Iterator[Runs]:
        """The runs of a scheme one by one, in their order."""
        return (one for one in self.runs if one.runs[0].scheme == scheme)


def settings_of(runs: Runs) -> list[Setting]:
    """The settings of these runs, in the order of their first runs.

    Of several runs of a setting with the same scheme and seed, only the first is taken: as
    repetitions of each other they would make intervals over seeds too narrow.
    """
    keys = _keys(runs.runs)
    parts = dict.fromkeys(name for key in keys for name in key)
    varied = [name for name in parts if len({key.get(name) for key in keys}) > 1]
    if len({key["study"] for key in keys}) == len({(key["study"], key["task"]) for key in keys}):
        varied = [name for name in varied if name != "task"]  # the study says it already
    found: dict[tuple[tuple[str, str], ...], dict[tuple[str, int], Run]] = {}
    for key, run in zip(keys, runs.runs, strict=True):
        found.setdefault(tuple(key.items()), {}).setdefault((run.scheme, run.seed), run)
    return [
        Setting(_label(dict(key), varied), dict(key)["study"], Runs(tuple(members.values())))
        for key, members in found.items()
    ]


def chosen(runs: Runs, name: str | None) -> Runs:
    """The run with this name, by default the first; raises `CannotDraw` for another name."""
    try:
        return runs[0 if name is None else name]
    except ValueError as error:
        raise CannotDraw(str(error)) from None


def is_device(node: str) -> bool:
    """Whether a node's name is that of a device of a cluster."""
    return role_or_none(node) is Role.DEVICE


def by_number(nodes: Iterable[str]) -> list[str]:
    """Nodes by the numbers in their names, so that c0.d10 comes after c0.d2."""
    return sorted(set(nodes), key=lambda node: [int(part) for part in re.findall(r"\d+", node)])


def largest_devices(values: pd.Series, most: int) -> list[str]:
    """The `most` devices with the largest values, by number; the index of `values` has devices.

    Raises `CannotDraw` where `most` is less than 1.
    """
    if most < 1:
        raise CannotDraw(f"expected at least 1 device, not {most}")
    largest = values.groupby(level=0).max().sort_values(ascending=False, kind="stable")
    return by_number(str(device) for device in largest.index[:most])


def shortened(text: str, most: int) -> str:
    """A text for a label: its middle is left out where it has more characters than `most`."""
    if len(text) <= most:
        return text
    front = (most - 1) // 2
    return f"{text[:front]}…{text[len(text) - (most - 1 - front) :]}"


def wrapped(text: str, columns: int) -> str:
    """A text in lines of at most so many characters, with `key = value` kept on one line."""
    together = text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    return "\n".join(textwrap.wrap(together, columns)).replace("\N{NO-BREAK SPACE}", " ")


def _keys(runs: Sequence[Run]) -> list[dict[str, str]]:
    """What runs must have in common to be compared, for each run.

    These are study, task, point of the grid, and all else in which runs that have these in common
    differ by their studies.
    """
    keys = [_key(run) for run in runs]
    alike: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for number, key in enumerate(keys):
        alike.setdefault(tuple(key.items()), []).append(number)
    for numbers in alike.values():
        for name, values in unexplained([runs[number] for number in numbers]).items():
            for number, value in zip(numbers, values, strict=True):
                if name not in _COMPARED:
                    keys[number][name] = value
    return keys


def _key(run: Run) -> dict[str, str]:
    """The study, the task and the point of the grid of a run."""
    task = run.manifest.get("task", {})
    return {
        "study": str(run.study.get("name", "")),
        "task": str(task.get("name", "")) if isinstance(task, dict) else "",
        **run.point,
    }


def _label(key: dict[str, str], varied: list[str]) -> str:
    """Names of study and task as they are, settings as `key = value`."""
    parts = [
        key[name] if name in ("study", "task") else f"{name} = {key[name]}"
        for name in varied
        if key.get(name)
    ]
    return ", ".join(parts)
