"""Writes a comparison as files: Parquet, Markdown and a figure."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.compare import Comparison, Metric
from analysis.paper_claims import ClaimResult, claim_results
from run_directory.files import place_parts, write_parts

#: The metrics of the figure, each in a panel of its own.
FIGURE_METRICS = (
    "round_s",
    "computation_s",
    "peak_device_memory_bytes",
    "device_energy_j",
    "bytes_on_air",
    "metric_at_time",
)


def write(
    comparison: Comparison, directory: Path, heading: str, question: str, command: str
) -> list[Path]:
    """Writes `comparison.parquet`, `runs.parquet`, `comparison.md` and `comparison.png`.

    `question` says what is compared. Each file is replaced whole or not at all. Raises `OSError`
    where they can't be written.
    """
    picture = io.BytesIO()
    figure(comparison).savefig(picture, dpi=150)
    contents = {
        directory / "comparison.parquet": comparison.summary.to_parquet(),
        directory / "runs.parquet": comparison.runs.to_parquet(),
        directory / "comparison.md": markdown(comparison, heading, question, command).encode(),
        directory / "comparison.png": picture.getvalue(),
    }
    write_parts(contents)
    place_parts(contents)
    return list(contents)


def format_mean(mean: float, half: float) -> str:
    """A mean and half of its interval, as `1.31±0.02`.

    Both are rounded to the interval's second digit, or to thousandths. A mean without an interval
    has three digits; nan is printed as `-`.
    """
    if math.isnan(mean):
        return "-"
    if math.isnan(half) or half <= 0:
        return f"{mean:.3g}"
    decimals = min(max(1 - math.floor(math.log10(half)), 0), 3)
    return f"{mean:.{decimals}f}±{half:.{decimals}f}"


def format_row(row: pd.Series, metric: Metric) -> str:
    """A summary row's mean; where not every seed has a value, how many seeds have one."""
    if 0 < row["reached"] < row["seeds"]:
        return f"{row['reached']} of {row['seeds']}"
    return format_mean(row["mean"] * metric.scale, row["ci95"] * metric.scale)


def sitting_out_lines(comparison: Comparison) -> list[str]:
    """A line for each scheme under which devices sat out."""
    runs = comparison.runs
    mean = runs.groupby("scheme", sort=False)["devices_sitting_out"].mean()
    return [
        f"{scheme}: {count:.3g} devices a round sat out, for lack of memory"
        for scheme, count in mean[mean > 0].items()
    ]


def stale_schemes(comparison: Comparison, point: str) -> dict[str, str]:
    """The schemes with runs at this point that other code made, and what changed since."""
    rows = comparison.summary[comparison.summary["point"] == point]
    return {str(name): str(why) for name, why in rows[["scheme", "stale"]].to_numpy() if why}


def headings(comparison: Comparison, point: str, names: Sequence[str]) -> list[str]:
    """The schemes as headings of columns, with a star where other code made runs."""
    found = stale_schemes(comparison, point)
    return [f"{name}*" if name in found else name for name in names]


def stale_lines(comparison: Comparison, point: str) -> list[str]:
    """An explanation of each star: a line for each scheme that has one."""
    found = stale_schemes(comparison, point)
    return [f"* {name}: made by other code than the present: {found[name]}" for name in found]


def grid_points(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(comparison.summary["point"]))


def schemes(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(comparison.summary["scheme"]))


def rows_at(comparison: Comparison, point: str) -> dict[tuple[str, str], pd.Series]:
    """The summary's rows at a point by (metric, scheme)."""
    rows = comparison.summary[comparison.summary["point"] == point]
    return {(str(row["metric"]), str(row["scheme"])): row for _, row in rows.iterrows()}


def markdown(comparison: Comparison, heading: str, question: str, command: str) -> str:
    """The comparison as Markdown: means, differences, energy, and the paper's claims."""
    names = schemes(comparison)
    lines = [f"# {heading}", "", f"`{command}`", "", f"{question[:1].upper()}{question[1:]}.", ""]
    for point in grid_points(comparison):
        rows = rows_at(comparison, point)
        seeds = int(comparison.summary.loc[comparison.summary["point"] == point, "seeds"].max())
        lines += [f"## {point or 'The study as it is'}", ""]
        lines += [f"Means over {seeds} seeds, ± half of the 95 % confidence interval.", ""]
        lines += _head(["", *headings(comparison, point, names)])
        for key, metric in comparison.metrics.items():
            values = [format_row(rows[key, name], metric) for name in names]
            unit = f", {metric.unit}" if metric.unit else ""
            lines.append(_row([f"{metric.label}{unit}", *values]))
        lines += [f"\n{line}" for line in (*comparison.notes, *sitting_out_lines(comparison))]
        lines += [f"\n\\{line}" for line in stale_lines(comparison, point)]
        others = [name for name in names if name != comparison.reference]
        lines += ["", f"Differences from {comparison.reference}, in percent, paired by seed:", ""]
        lines += _head(["", *headings(comparison, point, others)])
        for key, metric in comparison.metrics.items():
            of_schemes = [rows[key, name] for name in others]
            values = [format_mean(row["percent"], row["percent_ci95"]) for row in of_schemes]
            lines.append(_row([metric.label, *values]))
        lines += ["", "Energy of each device a round, in joules:", ""]
        lines += _energy(comparison, point, names)
        if "collapipe" in names:
            lines += [
                "",
                "Compared with the paper (arXiv 2509.19855), collapipe against each baseline:",
                "",
            ]
            lines += _claims(claim_results(comparison, point))
        lines.append("")
    return "\n".join(lines)


def _energy(comparison: Comparison, point: str, names: Sequence[str]) -> list[str]:
    rows = comparison.energy[comparison.energy["point"] == point]
    table = rows.pivot_table(index="device", columns="scheme", values="energy_j", sort=False)
    lines = _head(["device", *names])
    for device, values in table.reindex(columns=list(names)).iterrows():
        lines.append(_row([str(device), *(format_mean(value, math.nan) for value in values)]))
    return lines


def _claims(results: Sequence[ClaimResult]) -> list[str]:
    lines = _head(["figure", "against", "paper", "measured, %", ""])
    for each in results:
        measured = format_mean(each.percent, each.ci95)
        claim = each.claim
        lines.append(_row([claim.what, claim.baseline, claim.words, measured, each.verdict]))
    return lines


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), _row(["---"] * len(cells))]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def figure(comparison: Comparison) -> Figure:
    """A panel for each metric: every scheme's mean with its interval, grid points side by side."""
    points, names = grid_points(comparison), schemes(comparison)
    picture = Figure(figsize=(9, 5), layout="constrained")
    panels = picture.subplots(2, 3).flatten()
    width = 0.8 / len(points)
    stars = {name for point in points for name in stale_schemes(comparison, point)}
    ticks = [f"{name}*" if name in stars else name for name in names]
    for panel, key in zip(panels, FIGURE_METRICS, strict=True):
        metric = comparison.metrics[key]
        for place, point in enumerate(points):
            rows = rows_at(comparison, point)
            means = [rows[key, name]["mean"] * metric.scale for name in names]
            halves = [rows[key, name]["ci95"] * metric.scale for name in names]
            at = [number + (place - (len(points) - 1) / 2) * width for number in range(len(names))]
            errors = [0.0 if math.isnan(half) else half for half in halves]
            panel.bar(at, means, width, yerr=errors, capsize=2, label=point or None)
        panel.set_title(f"{metric.label}{f' [{metric.unit}]' if metric.unit else ''}", fontsize=9)
        panel.set_xticks(range(len(names)), ticks, rotation=20, fontsize=8)
        panel.tick_params(axis="y", labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    if stars:
        picture.suptitle("* made by other code than the present", fontsize=8, ha="right", x=0.99)
    if any(points):
        picture.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return picture
