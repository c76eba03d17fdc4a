"""Draws docs/results.png: three costs of each scheme beside those of the reference scheme."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter

from analysis.figures.style import GREY, new_figure, scheme_style, styled
from benchmarks.results_data import Results

#: The metric of each panel, and its title.
PANELS = {
    "round_s": "end-to-end delay",
    "peak_device_memory_bytes": "device memory",
    "device_energy_j": "device energy",
}
_TICKS = (0.25, 0.5, 1, 2, 4, 8)


@styled
def figure(found: Mapping[str, Results]) -> Figure:
    """A panel for each metric, with a line for each campaign and a marker for each scheme.

    Values are ratios to the reference scheme, paired by seed, with their 95 % confidence intervals.
    """
    made = new_figure("page", 0.8 + 0.26 * len(found))
    panels = made.subplots(1, len(PANELS), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (metric, title) in zip(panels, PANELS.items(), strict=True):
        _draw(axes, metric, found)
        axes.set_title(title)
    panels[0].set_yticks(range(len(found)), list(found))
    panels[0].invert_yaxis()
    reference = next(iter(found.values())).reference
    panels[1].set_xlabel(f"ratio to {reference} (mean, 95 % interval)")
    handles, labels = panels[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return made


def _draw(axes: Axes, metric: str, found: Mapping[str, Results]) -> None:
    schemes = next(iter(found.values())).others
    for number, scheme in enumerate(schemes):
        color, marker, _ = scheme_style(scheme)
        percents = [each.percent(metric, scheme) for each in found.values()]
        axes.errorbar(
            [1 + each.mean / 100 for each in percents],
            [row + 0.2 * (number - (len(schemes) - 1) / 2) for row in range(len(found))],
            xerr=[each.half / 100 for each in percents],
            color=color,
            marker=marker,
            linestyle="none",
            capsize=1.5,
            elinewidth=0.8,
            label=scheme,
        )
    axes.axvline(1, color=GREY, linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(_TICKS))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
