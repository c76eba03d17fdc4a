"""The plain tables of the report, as rows of cells that a script sorts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.compare import Comparison, Metric, TaskMetric, losses
from analysis.comparison_files import format_mean, sitting_out_lines
from analysis.load import Runs

#: The columns of the table of a run's rounds: heading, unit, and factor to that unit.
_ROUND_COLUMNS: Mapping[str, tuple[str, str, float]] = {
    "start_s": ("start", "s", 1.0),
    "duration_s": ("duration", "s", 1.0),
    "computation_s": ("computation", "s", 1.0),
    "device_energy_j": ("device energy", "J", 1.0),
    "peak_device_memory_bytes": ("device memory", "MiB", 2.0**-20),
    "failed_pipelines": ("failed pipelines", "", 1.0),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """The text of a cell; `value` is what it is sorted by, None where it has no value."""

    text: str
    value: float | str | None

    @classmethod
    def number(cls, value: float, text: str | None = None) -> Cell:
        known = not math.isnan(value)
        return cls(text if text is not None else format_number(value), value if known else None)

    @classmethod
    def word(cls, text: str) -> Cell:
        return cls(text, text)

    @property
    def is_number(self) -> bool:
        return not isinstance(self.value, str)


@dataclass(frozen=True, slots=True)
class Table:
    """A table: `columns` are headings with units, `notes` explain what is in the cells."""

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    of_texts: bool = False


def format_number(value: float) -> str:
    """A number with four significant digits, `–` for nan."""
    if math.isnan(value):
        return "–"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}".replace("e+0", "e").replace("-", "−")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame, by the names of its columns."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def means(comparison: Comparison) -> Table:
    """The mean of each metric with its interval, a row for each scheme at each point."""
    by_key = _summary_rows(comparison)
    columns, body = _by_scheme(comparison, [_with_unit(m) for m in comparison.metrics.values()])
    rows = []
    for point, scheme in body:
        cells = [
            _mean(by_key[point, key, scheme], metric) for key, metric in comparison.metrics.items()
        ]
        rows.append([*_names(comparison, point, scheme), *cells])
    seeds = comparison.runs.groupby(["point", "scheme"])["seed"].nunique()
    many = seeds.max() > 1
    by_seed = comparison.summary
    note = "Means over seeds ± half of the 95 % confidence interval." if many else "One seed."
    partly = "Where not every seed has a value, the cell says how many have one."
    some = ((by_seed["reached"] > 0) & (by_seed["reached"] < by_seed["seeds"])).any()
    notes = (note, *([partly] if some else []), *comparison.notes, *sitting_out_lines(comparison))
    return Table("means", "Means of each scheme", columns, rows, notes)


def percentages(comparison: Comparison) -> Table | None:
    """The paired differences of the other schemes from the reference, in percent."""
    by_key = _summary_rows(comparison)
    columns, body = _by_scheme(comparison, [m.label for m in comparison.metrics.values()])
    rows = []
    for point, scheme in body:
        if scheme == comparison.reference:
            continue
        found = [by_key[point, key, scheme] for key in comparison.metrics]
        cells = [
            Cell.number(row["percent"], _signed(row["percent"], row["percent_ci95"]))
            for row in found
        ]
        rows.append([*_names(comparison, point, scheme), *cells])
    caption = f"Differences from {comparison.reference}, in percent"
    note = (
        f"100 · (value / value of {comparison.reference} − 1), paired by seed, ± half of the 95 % "
        "confidence interval. Where the interval contains 0, no difference is shown."
    )
    return Table("differences", caption, columns, rows, (note,)) if rows else None


def single_runs(comparison: Comparison) -> Table:
    """The metrics of each run."""
    frame = comparison.runs
    many = frame["point"].nunique() > 1
    columns = [
        *(["settings"] if many else []),
        "scheme",
        "seed",
        *(_with_unit(metric) for metric in comparison.metrics.values()),
    ]
    rows = [
        [
            *_names_of(str(row["point"]), str(row["scheme"]), many),
            Cell.number(float(row["seed"])),
            *(Cell.number(row[key] * m.scale) for key, m in comparison.metrics.items()),
        ]
        for _, row in frame.iterrows()
    ]
    return Table("runs", "Each run", columns, rows)


def rounds(run: Runs, number: int) -> Table:
    """The rounds of one run, which is the `number`-th of the report."""
    frame, metric = run.rounds, TaskMetric.of(run)
    columns = [f"{name} [{unit}]" if unit else name for name, unit, _ in _ROUND_COLUMNS.values()]
    named = f"{metric.name} [{metric.unit}]" if metric.unit else metric.name
    rows = [
        [
            Cell.number(float(row["round"])),
            *(
                Cell.number(float(row[key]) * scale)
                for key, (_, _, scale) in _ROUND_COLUMNS.items()
            ),
            Cell.number(float(value)),
            Cell.number(float(row["metric"])),
        ]
        for (_, row), value in zip(frame.iterrows(), losses(run), strict=True)
    ]
    caption = f"Rounds of {run.runs[0].name}"
    return Table(f"rounds-{number}", caption, ["round", *columns, "loss", named], rows)


def texts(name: str, caption: str, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> Table:
    """A table of texts."""
    cells = [[Cell.word(str(cell)) for cell in row] for row in rows]
    return Table(name, caption, columns, cells, of_texts=True)


def _summary_rows(comparison: Comparison) -> dict[tuple[str, str, str], Any]:
    return {
        (str(row["point"]), str(row["metric"]), str(row["scheme"])): row
        for row in records(comparison.summary)
    }


def _by_scheme(
    comparison: Comparison, labels: Sequence[str]
) -> tuple[list[str], list[tuple[str, str]]]:
    """The columns of a table by scheme, and the point and scheme of each row."""
    keys = comparison.summary[["point", "scheme"]].drop_duplicates()
    body = [(str(point), str(scheme)) for point, scheme in keys.to_numpy()]
    many = len({point for point, _ in body}) > 1
    return [*(["settings"] if many else []), "scheme", *labels], body


def _names(comparison: Comparison, point: str, scheme: str) -> list[Cell]:
    return _names_of(point, scheme, comparison.summary["point"].nunique() > 1)


def _names_of(point: str, scheme: str, with_point: bool) -> list[Cell]:
    return [*([Cell.word(point or "as it is")] if with_point else []), Cell.word(scheme)]


def _with_unit(metric: Metric) -> str:
    return f"{metric.label} [{metric.unit}]" if metric.unit else metric.label


def _mean(row: Mapping[str, Any], metric: Metric) -> Cell:
    if 0 < row["reached"] < row["seeds"]:
        return Cell(f"{row['reached']} of {row['seeds']}", None)
    mean = row["mean"] * metric.scale
    return Cell.number(mean, _plain(format_mean(mean, row["ci95"] * metric.scale)))


def _signed(mean: float, half: float) -> str:
    text = _plain(format_mean(mean, half))
    return f"+{text}" if mean > 0 and text != "–" else text


def _plain(text: str) -> str:
    return "–" if text == "-" else text.replace("-", "−").replace("±", " ± ")
