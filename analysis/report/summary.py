"""The summary of a report in words: what was run, and what came of it.

Statements are hedged by the intervals of `analysis.compare`: where the interval of a difference
contains 0, "no difference is shown", and with one seed there is no interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.compare import Comparison, TaskMetric, ends, losses
from analysis.load import Runs
from analysis.multicasts import KEY, once
from analysis.report.tables import format_number, records

#: The columns of transfers that their payload needs.
_OF_PAYLOAD = [*KEY, "bytes"]

#: The metrics that the summary has a sentence about, with their subjects.
_SUBJECTS: Mapping[str, str] = {
    "round_s": "The mean time of a round",
    "final_metric": "The {metric} after the last round",
    "device_energy_j": "The energy of the devices in a round",
    "peak_device_memory_bytes": "The peak memory of a device",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """A number of the summary, with its label and unit."""

    label: str
    value: str


def facts(runs: Runs) -> list[Fact]:
    """What was run, in numbers."""
    simulated_s = sum(float(ends(run).iloc[-1]) for run in runs)
    rounds = [run.rounds for run in runs.runs]
    spread = str(rounds[0]) if len(set(rounds)) == 1 else f"{min(rounds)} to {max(rounds)}"
    payload = sum(float(once(run.table("transfers", _OF_PAYLOAD))["bytes"].sum()) for run in runs)
    return [
        Fact("runs", str(len(runs))),
        Fact("schemes", str(len(_schemes(runs)))),
        Fact("seeds", str(len({run.seed for run in runs.runs}))),
        Fact("rounds of each run", spread),
        Fact("simulated time of all runs", _quantity(simulated_s, "s")),
        Fact("payload of all transfers", _quantity(payload / 1e6, "MB")),
    ]


def what_was_run(runs: Runs) -> str:
    """One or two sentences on studies, schemes, seeds, rounds and task."""
    studies = list(dict.fromkeys(str(run.study.get("name", "?")) for run in runs.runs))
    schemes, seeds = _schemes(runs), sorted({run.seed for run in runs.runs})
    counts = {run.rounds for run in runs.runs}
    rounds = f"{counts.pop()} rounds" if len(counts) == 1 else "numbers of rounds that differ"
    tasks = {str(run.manifest.get("task", {}).get("name", "")): TaskMetric.of(run) for run in runs}
    begin = "The study" if len(studies) == 1 else "The studies"
    were = "was" if len(studies) == 1 else "were"
    kind = "scheme" if len(schemes) == 1 else "schemes"
    numbers = "seed" if len(seeds) == 1 else "seeds"
    text = (
        f"{begin} {_listed(studies)} {were} run with the {kind} {_listed(schemes)} and the "
        f"{numbers} {_ranges(seeds)}, for {rounds}."
    )
    for name, metric in tasks.items():
        if name:
            better = "higher" if metric.higher_is_better else "lower"
            text += f" The main metric of the task {name} is {metric.name}; {better} is better."
    return text


def results(runs: Runs, comparison: Comparison | None) -> list[str]:
    """The main results, a sentence each."""
    if comparison is None:
        return [_of_one_run(run) for run in runs]
    found = list(_compared(comparison, TaskMetric.of(runs[0])))
    seeds = comparison.runs["seed"].nunique()
    if seeds == 1:
        found.append(
            "Each scheme was run with one seed, so there are no confidence intervals, and any of "
            "these differences may be due to chance."
        )
    elif comparison.runs["scheme"].nunique() > 1:
        found.append(
            "In parentheses are 95 % confidence intervals of the differences, paired by seed "
            f"(Student's t over {seeds} seeds), each on its own: they are not corrected for the "
            "number of comparisons."
        )
    return found


def unfinished(runs: Runs) -> list[str]:
    """A line for each run that has fewer rounds than its study."""
    return [
        f"{run.name} is not finished: it has {run.rounds} of {run.planned_rounds} rounds"
        for run in runs.runs
        if not run.is_finished
    ]


def _of_one_run(run: Runs) -> str:
    rounds, metric = run.rounds, TaskMetric.of(run)
    last = len(rounds) - 1
    end = _quantity(float(ends(run).iloc[-1]), "s")
    mean = _quantity(float(rounds["duration_s"].mean()), "s")
    text = f"{run.runs[0].name} took {end} of simulated time, {mean} a round in the mean."
    values = {metric.name: rounds["metric"], "loss": losses(run)}
    changes = [
        f"the {name} went from {format_number(float(value.iloc[0]))} after round "
        f"{int(rounds['round'].iloc[0])} to {format_number(float(value.iloc[last]))} after round "
        f"{int(rounds['round'].iloc[last])}"
        for name, value in values.items()
        if not value.isna().all()
    ]
    if changes:
        sentence = ", and ".join(changes)
        text += f" {sentence[0].upper()}{sentence[1:]}."
    energy = _quantity(float(rounds["device_energy_j"].mean()), "J")
    return f"{text} The devices used {energy} a round in the mean."


def _compared(comparison: Comparison, task: TaskMetric) -> Iterator[str]:
    points = list(dict.fromkeys(comparison.summary["point"]))
    others = [s for s in dict.fromkeys(comparison.summary["scheme"]) if s != comparison.reference]
    for key, subject in _SUBJECTS.items():
        subject = subject.format(metric=task.name)
        rows = comparison.summary[comparison.summary["metric"] == key]
        by_scheme = {
            str(scheme): {str(row["point"]): row for row in records(group)}
            for scheme, group in rows.groupby("scheme", sort=False)
        }
        if len(points) == 1:
            yield from _at_one_point(comparison, key, subject, by_scheme, str(points[0]))
        elif others:
            yield _at_points(comparison, subject, by_scheme, others)


def _at_one_point(
    comparison: Comparison,
    key: str,
    subject: str,
    by_scheme: Mapping[str, Mapping[str, Mapping[str, Any]]],
    point: str,
) -> Iterator[str]:
    metric = comparison.metrics[key]
    reference = by_scheme[comparison.reference][point]
    if math.isnan(reference["mean"]):
        return
    mean = _quantity(reference["mean"] * metric.scale, metric.unit)
    text = f"{subject} is {mean} with {comparison.reference}"
    told = [
        _difference(row, scheme, metric.scale, metric.unit, key == "final_metric")
        for scheme, row in ((s, rows[point]) for s, rows in by_scheme.items())
        if scheme != comparison.reference and row["seeds"]
    ]
    changed = [words for _, shown, words in told if shown]
    same = [words for _, shown, words in told if not shown]
    if changed:
        text += f"; it is {_listed(changed)}"
    if same:
        text += f"; no difference is shown for {_listed(same)}"
    yield f"{text}."


def _difference(
    row: Mapping[str, Any], scheme: str, scale: float, unit: str, absolute: bool
) -> tuple[str, bool, str]:
    """A scheme, whether its difference is shown, and the words for it.

    Differences of the task's metric are in its own unit, others in percent.
    """
    name = "difference" if absolute else "percent"
    factor, symbol = (scale, unit) if absolute else (1.0, "%")
    mean, half = row[name] * factor, row[f"{name}_ci95"] * factor
    if math.isnan(mean):
        return scheme, False, f"{scheme} (without a value)"
    if mean == 0 and not half > 0:
        return scheme, False, f"{scheme} (equal values)"
    direction = "higher" if mean > 0 else "lower"
    if math.isnan(half):
        return scheme, True, f"{_quantity(abs(mean), symbol)} {direction} with {scheme}"
    if half <= 1e-9 * abs(mean):
        words = f"{_quantity(abs(mean), symbol)} {direction} with {scheme}"
        return scheme, True, f"{words} (the same with each seed)"
    decimals = min(max(1 - math.floor(math.log10(half)), 0), 6)
    low, high = (_minus(f"{mean + sign * half:+.{decimals}f}") for sign in (-1, 1))
    interval = f"({low} to {high} {symbol}".rstrip() + ")"
    if abs(mean) <= half:
        return scheme, False, f"{scheme} {interval}"
    amount = f"{abs(mean):.{decimals}f} {symbol}".rstrip()
    return scheme, True, f"{amount} {direction} with {scheme} {interval}"


def _at_points(
    comparison: Comparison,
    subject: str,
    by_scheme: Mapping[str, Mapping[str, Mapping[str, Any]]],
    others: Sequence[str],
) -> str:
    """A sentence on a campaign with several points: at how many of them a scheme is different."""
    parts = []
    for scheme in others:
        rows = list(by_scheme[scheme].values())
        shown = [
            _sign(row["percent"])
            for row in rows
            if not math.isnan(row["percent"])
            and (math.isnan(row["percent_ci95"]) or abs(row["percent"]) > row["percent_ci95"])
        ]
        higher, lower = shown.count(1), shown.count(-1)
        parts.append(
            f"with {scheme} it is higher at {higher}, lower at {lower}, and without a shown "
            f"difference at {len(rows) - higher - lower}"
        )
    count = len(next(iter(by_scheme.values())))
    return f"{subject}, against {comparison.reference} at {count} settings: {'; '.join(parts)}."


def _schemes(runs: Runs) -> list[str]:
    return list(dict.fromkeys(run.scheme for run in runs.runs))


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _quantity(value: float, unit: str) -> str:
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}".replace(",", " ")
    return _minus(f"{text} {unit}".strip())


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + f" and {words[-1]}" if len(words) > 1 else "".join(words)


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers in order, such as `0–4, 7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}–{r[-1]}" for r in runs)
