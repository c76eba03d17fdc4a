"""Prints comparisons on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis import comparison_files
from analysis.compare import METRICS, Comparison
from analysis.comparison_files import format_mean
from analysis.fronts import OBJECTIVES
from collapipe_ns3.cli.tables import new_table, print_table, print_text


def print_comparison(console: Console, comparison: Comparison) -> None:
    """For each grid point, a table of means and one of differences: a row per metric, a column per
    scheme.
    """
    names = comparison_files.schemes(comparison)
    for point in comparison_files.grid_points(comparison):
        if point:
            console.print(f"[bold]{escape(point)}[/]")
        print_table(console, _means(comparison, point, names))
        others = [name for name in names if name != comparison.reference]
        if others:
            print_table(console, _differences(comparison, point, others))
        for line in comparison_files.stale_lines(comparison, point):
            console.print(f"[yellow]{escape(line)}[/]", soft_wrap=True)
    seeds = comparison.runs["seed"].nunique()
    if seeds > 1:
        console.print(f"means over {seeds} seeds ± half of the 95 % confidence interval")
    for line in (*comparison.notes, *comparison_files.sitting_out_lines(comparison)):
        console.print(f"[yellow]{escape(line)}[/]")


def _means(comparison: Comparison, point: str, names: Sequence[str]) -> Table:
    rows = comparison_files.rows_at(comparison, point)
    headings = comparison_files.headings(comparison, point, names)
    table = new_table("a round, the mean", *headings)
    for key, metric in comparison.metrics.items():
        means = [comparison_files.format_row(rows[key, name], metric) for name in names]
        unit = f" [dim]{metric.unit}[/]" if metric.unit else ""
        table.add_row(f"{metric.label}{unit}", *means)
    return table


def _differences(comparison: Comparison, point: str, names: Sequence[str]) -> Table:
    rows = comparison_files.rows_at(comparison, point)
    headings = comparison_files.headings(comparison, point, names)
    table = new_table(f"% from {comparison.reference}, by seed", *headings)
    for key, metric in comparison.metrics.items():
        of_schemes = [rows[key, name] for name in names]
        values = [format_mean(row["percent"], row["percent_ci95"]) for row in of_schemes]
        table.add_row(metric.label, *values)
    return table


#: The headings of what `analysis.fronts` lists, in the units of its metrics.
_FRONT_HEADINGS = ("delay", "memory", "energy")


def print_fronts(console: Console, fronts: pd.DataFrame) -> None:
    """What each scheme takes at each point, those on the front first, and what numbers mean."""
    metrics = {name: METRICS[name] for name in OBJECTIVES}
    units = zip(_FRONT_HEADINGS, metrics.values(), strict=True)
    headings = [f"{heading} [dim]{metric.unit}[/]" for heading, metric in units]
    table = new_table("point", "scheme", *headings)
    rows = fronts.sort_values("on_front", ascending=False, kind="stable").to_dict("records")
    names = [f"{number}{'*' * row['on_front']}" for number, row in enumerate(rows, start=1)]
    for name, row in zip(names, rows, strict=True):
        taken = [
            format_mean(row[key] * metric.scale, row[f"{key}_ci95"] * metric.scale)
            for key, metric in metrics.items()
        ]
        table.add_row(name, escape(str(row["scheme"])), *taken)
    print_table(console, table)
    for name, row in zip(names, rows, strict=True):
        if row["point"]:
            print_text(console, f"{name}: {row['point']}".replace("scheme.settings.", ""))
    print_text(console, "* on the front: no other is as good in all three and better in one")
