"""Prints comparisons on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis import comparison_files
from analysis.compare import Comparison
from analysis.comparison_files import format_mean
from collapipe_ns3.cli.tables import new_table, print_table


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
