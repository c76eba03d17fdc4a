"""Comparisons on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis import comparison_files
from analysis.compare import METRICS, Comparison
from collapipe_ns3.cli.tables import new_table, print_table


def print_comparison(console: Console, comparison: Comparison) -> None:
    """A table a grid point: a row a metric, a column a scheme."""
    names = comparison_files.schemes(comparison)
    for point in comparison_files.grid_points(comparison):
        if point:
            console.print(f"[bold]{escape(point)}[/]")
        print_table(console, _comparison(comparison, point, names))
        others = [name for name in names if name != comparison.reference]
        if others:
            print_table(console, _differences(comparison, point, others))
        for line in comparison_files.stale_lines(comparison, point):
            console.print(f"[yellow]{escape(line)}[/]", soft_wrap=True)
    seeds = comparison.runs["seed"].nunique()
    if seeds > 1:
        console.print(f"means over {seeds} seeds ± half of the 95 % confidence interval")
    for line in comparison_files.sitting_out(comparison):
        console.print(f"[yellow]{escape(line)}[/]")


def _comparison(comparison: Comparison, point: str, names: Sequence[str]) -> Table:
    rows = comparison_files.cells_of(comparison, point)
    marked = comparison_files.marked(comparison, point, names)
    table = new_table("a round, the mean", *marked)
    for key, metric in METRICS.items():
        means = [comparison_files.shown(rows[key, name], metric) for name in names]
        unit = f" [dim]{metric.unit}[/]" if metric.unit else ""
        table.add_row(f"{metric.label}{unit}", *means)
    return table


def _differences(comparison: Comparison, point: str, names: Sequence[str]) -> Table:
    rows = comparison_files.cells_of(comparison, point)
    marked = comparison_files.marked(comparison, point, names)
    table = new_table(f"% from {comparison.reference}, by seed", *marked)
    for key in METRICS:
        cells = [rows[key, name] for name in names]
        told = [comparison_files.told(row["percent"], row["percent_ci95"]) for row in cells]
        table.add_row(METRICS[key].label, *told)
    return table
