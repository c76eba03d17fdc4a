"""A comparison as files: Parquet, Markdown and a figure."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.compare import METRICS, Comparison, Metric
from analysis.paper import Finding, findings
from run_directory.files import place_parts, write_parts

#: The metrics that the figure shows, a panel each.
SHOWN = (
    "round_s",
    "computation_s",
    "peak_device_memory_bytes",
    "device_energy_j",
    "bytes_on_air",
    "metric_at_time",
)


def write(comparison: Comparison, directory: Path, heading: str, command: str) -> list[Path]:
    """Writes `comparison.parquet`, `runs.parquet`, `comparison.md` and `comparison.png`.

    Each is there whole or as it was before. Raises `OSError` where they can't be written.
    """
    picture = io.BytesIO()
    figure(comparison).savefig(picture, dpi=150)
    contents = {
        directory / "comparison.parquet": comparison.summary.to_parquet(),
        directory / "runs.parquet": comparison.runs.to_parquet(),
        directory / "comparison.md": markdown(comparison, heading, command).encode(),
        directory / "comparison.png": picture.getvalue(),
    }
    write_parts(contents)
    place_parts(contents)
    return list(contents)


def told(mean: float, half: float) -> str:
    """A mean with its interval, as `1.31±0.02`, to the interval's second digit or to thousandths.

    `-` for none.
    """
    if math.isnan(mean):
        return "-"
    if math.isnan(half) or half <= 0:
        return f"{mean:.3g}"
    decimals = min(max(1 - math.floor(math.log10(half)), 0), 3)
    return f"{mean:.{decimals}f}±{half:.{decimals}f}"


def shown(row: pd.Series, metric: Metric) -> str:
    """A mean as it is told; where not every seed has a value, how many of them have."""
    if 0 < row["reached"] < row["seeds"]:
        return f"{row['reached']} of {row['seeds']}"
    return told(row["mean"] * metric.scale, row["ci95"] * metric.scale)


def sitting_out(comparison: Comparison) -> list[str]:
    """A line for every scheme under which devices sat out."""
    runs = comparison.runs
    mean = runs.groupby("scheme", sort=False)["devices_sitting_out"].mean()
    return [
        f"{scheme}: {count:.3g} devices a round sat out, for lack of memory"
        for scheme, count in mean[mean > 0].items()
    ]


def stale(comparison: Comparison, point: str) -> dict[str, str]:
    """The schemes with runs at this point that other code made, and what has changed since."""
    rows = comparison.summary[comparison.summary["point"] == point]
    return {str(name): str(why) for name, why in rows[["scheme", "stale"]].to_numpy() if why}


def marked(comparison: Comparison, point: str, names: Sequence[str]) -> list[str]:
    """The schemes as headings, with a star where runs were made by other code."""
    found = stale(comparison, point)
    return [f"{name}*" if name in found else name for name in names]


def stale_lines(comparison: Comparison, point: str) -> list[str]:
    """What the stars mean: a line for every scheme that has one."""
    found = stale(comparison, point)
    return [f"* {name}: made by other code than the present: {found[name]}" for name in found]


def grid_points(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(comparison.summary["point"]))


def schemes(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(comparison.summary["scheme"]))


def cells_of(comparison: Comparison, point: str) -> dict[tuple[str, str], pd.Series]:
    """The summary's rows at a point by (metric, scheme)."""
    rows = comparison.summary[comparison.summary["point"] == point]
    return {(str(row["metric"]), str(row["scheme"])): row for _, row in rows.iterrows()}


def markdown(comparison: Comparison, heading: str, command: str) -> str:
    """The tables for reading: means, differences from the reference, energy, the paper's claims."""
    names = schemes(comparison)
    lines = [f"# {heading}", "", f"`{command}`", ""]
    for point in grid_points(comparison):
        rows = cells_of(comparison, point)
        seeds = int(comparison.summary.loc[comparison.summary["point"] == point, "seeds"].max())
        lines += [f"## {point or 'The study as it is'}", ""]
        lines += [f"Means over {seeds} seeds, ± half of the 95 % confidence interval.", ""]
        lines += _head(["", *marked(comparison, point, names)])
        for key, metric in METRICS.items():
            values = [shown(rows[key, name], metric) for name in names]
            unit = f", {metric.unit}" if metric.unit else ""
            lines.append(_row([f"{metric.label}{unit}", *values]))
        lines += [f"\n{line}" for line in sitting_out(comparison)]
        lines += [f"\n\\{line}" for line in stale_lines(comparison, point)]
        others = [name for name in names if name != comparison.reference]
        lines += ["", f"Differences from {comparison.reference}, in percent, paired by seed:", ""]
        lines += _head(["", *marked(comparison, point, others)])
        for key, metric in METRICS.items():
            cells = [rows[key, name] for name in others]
            values = [told(row["percent"], row["percent_ci95"]) for row in cells]
            lines.append(_row([metric.label, *values]))
        lines += ["", "Energy of each device a round, in joules:", ""]
        lines += _energy(comparison, point, names)
        if "collapipe" in names:
            lines += [
                "",
                "Beside the paper (arXiv 2509.19855), collapipe against each baseline:",
                "",
            ]
            lines += _claims(findings(comparison, point))
        lines.append("")
    return "\n".join(lines)


def _energy(comparison: Comparison, point: str, names: Sequence[str]) -> list[str]:
    rows = comparison.energy[comparison.energy["point"] == point]
    table = rows.pivot_table(index="device", columns="scheme", values="energy_j", sort=False)
    lines = _head(["device", *names])
    for device, values in table.reindex(columns=list(names)).iterrows():
        lines.append(_row([str(device), *(told(value, math.nan) for value in values)]))
    return lines


def _claims(found: Sequence[Finding]) -> list[str]:
    lines = _head(["figure", "against", "paper", "measured, %", ""])
    for each in found:
        measured = told(each.percent, each.ci95)
        claim = each.claim
        lines.append(_row([claim.what, claim.baseline, claim.words, measured, each.verdict]))
    return lines


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), _row(["---"] * len(cells))]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def figure(comparison: Comparison) -> Figure:
    """A panel a metric: each scheme's mean with its interval, grid points side by side."""
    points, names = grid_points(comparison), schemes(comparison)
    picture = Figure(figsize=(9, 5), layout="constrained")
    panels = picture.subplots(2, 3).flatten()
    width = 0.8 / len(points)
    stars = {name for point in points for name in stale(comparison, point)}
    ticks = [f"{name}*" if name in stars else name for name in names]
    for panel, key in zip(panels, SHOWN, strict=True):
        metric = METRICS[key]
        for place, point in enumerate(points):
            rows = cells_of(comparison, point)
            means = [rows[key, name]["mean"] * metric.scale for name in names]
            halves = [rows[key, name]["ci95"] * metric.scale for name in names]
            at = [number + (place - (len(points) - 1) / 2) * width for number in range(len(names))]
            shown = [0.0 if math.isnan(half) else half for half in halves]
            panel.bar(at, means, width, yerr=shown, capsize=2, label=point or None)
        panel.set_title(f"{metric.label}{f' [{metric.unit}]' if metric.unit else ''}", fontsize=9)
        panel.set_xticks(range(len(names)), ticks, rotation=20, fontsize=8)
        panel.tick_params(axis="y", labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    if stars:
        picture.suptitle("* made by other code than the present", fontsize=8, ha="right", x=0.99)
    if any(points):
        picture.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return picture
