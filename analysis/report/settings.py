"""How the loaded runs differ: their studies, and the points at which schemes can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.compare import ComparedRun, Comparison, TaskMetric, compare
from analysis.differences import unexplained
from analysis.load import Run, Runs
from analysis.report.reproduce import some_of


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison of the runs that can be compared, and why others are left out.

    `comparison` is None where there is only one run.
    """

    comparison: Comparison | None
    notes: tuple[str, ...]


def points(runs: Sequence[Run]) -> list[str]:
    """The settings of each run by which it differs from others, apart from scheme and seed."""
    varied = unexplained(runs)
    of_grid = dict.fromkeys(key for run in runs for key in run.point)
    keys = [*of_grid, *(key for key in varied if key not in of_grid)]
    return [
        ", ".join(
            f"{key}={run.point[key] if key in run.point else varied[key][number]}"
            for key in keys
            if key in run.point or key in varied
        )
        for number, run in enumerate(runs)
    ]


def compare_runs(runs: Runs) -> Compared:
    """Compares schemes, paired by seed, at each point at which the studies differ.

    Left out with a note are unfinished runs, unless all are; runs of another task than most, or
    than the first ones where there are as many; and repetitions of a run with the same study,
    scheme and seed.
    """
    if len(runs) < 2:
        return Compared(None, ())
    members = []
    left_out: dict[str, list[str]] = {}
    finished = [each for each in runs if each.runs[0].is_finished] or list(runs)
    tasks = [_task(each) for each in finished]
    task = max(tasks, key=tasks.count)
    place_of = dict(zip((run.name for run in runs.runs), points(runs.runs), strict=True))
    seen: dict[tuple[str, str, int], str] = {}
    for each in runs:
        run = each.runs[0]
        key = (place_of[run.name], run.scheme, run.seed)
        if all(each.runs[0] is not one.runs[0] for one in finished):
            left_out.setdefault("not finished", []).append(run.name)
        elif _task(each) != task:
            left_out.setdefault("another task", []).append(run.name)
        elif key in seen:
            same = f"the same study, scheme and seed as {seen[key]}"
            left_out.setdefault(same, []).append(run.name)
        else:
            seen[key] = run.name
            members.append(ComparedRun(key[0], each))
    notes = [f"not in the comparison ({why}): {some_of(of)}" for why, of in left_out.items()]
    return Compared(compare(members) if len(members) > 1 else None, tuple(notes))


def _task(run: Runs) -> tuple[str, TaskMetric]:
    return str(run.manifest.get("task", {}).get("name", "")), TaskMetric.of(run)
