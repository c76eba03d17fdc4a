"""The duration of rounds, divided into their phases."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.compare import interval
from analysis.figures.settings import Setting, settings_of, shortened, wrapped
from analysis.figures.style import (
    BLACK,
    PHASES,
    CannotDraw,
    Width,
    legend_columns,
    new_figure,
    number_rounds,
    styled,
)
from analysis.load import Runs

#: With more rounds than this, their bars touch.
_MANY_ROUNDS = 40

#: The label and the hatching of the part of the phase `pipeline` that overlaps the exchange.
_OVERLAP = ("overlap", "....")


@styled
def phases(runs: Runs, *, width: Width = "page") -> Figure:
    """The mean duration of a round of each scheme, and what each phase contributes.

    Phases are those of the pipeline that finished last, so they add up to the round. A bar is the
    mean over the rounds of a run, then over seeds; the line at its end is the 95 % confidence
    interval of the total over seeds (Student's t), where there are several. Runs of different
    studies, tasks and points of a grid are in separate panels; those of the same study have the
    same scale. Of one run alone, each bar is a round. Where an exchange is streamed, dots cover as
    much of the phase `pipeline` as parameters were on their way in it (`overlap_s`), wherever that
    was within the phase. Raises `CannotDraw` where no phase was
    recorded.
    """
    known = runs.rounds.columns[runs.rounds.notna().any()]
    shown = [phase for phase in PHASES if f"{phase}_s" in known]
    if not shown:
        raise CannotDraw("these runs recorded no phases of their rounds")
    figure = _over_rounds(runs, width, shown) if len(runs) == 1 else _by_scheme(runs, width, shown)
    # A scheme of any panel may overlap.
    found = [axes.get_legend_handles_labels() for axes in figure.axes]
    handles, labels = max(found, key=lambda each: len(each[1]))
    columns = legend_columns(width, labels)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def _over_rounds(run: Runs, width: Width, shown: Sequence[str]) -> Figure:
    """A stacked bar for each round of one run."""
    rounds = run.rounds.sort_values("round")
    figure = new_figure(width, 2.6)
    axes = figure.subplots()
    base = np.zeros(len(rounds))
    apart = len(rounds) <= _MANY_ROUNDS
    bar_width = 0.8 if apart else 1.0
    for phase in shown:
        colour, hatch = PHASES[phase]
        lengths_s = rounds[f"{phase}_s"].fillna(0.0).to_numpy(float)
        axes.bar(
            rounds["round"],
            lengths_s,
            bar_width,
            base,
            label=phase,
            color=colour,
            hatch=hatch if apart else "",
            edgecolor="white",
            linewidth=0.3 if apart else 0.0,
        )
        if phase == "pipeline" and (overlaps_s := _overlaps_s(rounds).to_numpy(float)).any():
            label, dots = _OVERLAP
            axes.bar(
                rounds["round"],
                overlaps_s,
                bar_width,
                base,
                label=label,
                color=PHASES["pipeline"][0],
                hatch=dots,
                edgecolor="white",
                linewidth=0.0,
            )
        base += lengths_s
    number_rounds(axes)
    axes.grid(visible=False, axis="x")
    only = run.runs[0]
    name = shortened(only.name, 30 if width == "column" else 70)
    axes.set_ylabel("duration of the round (s)")
    axes.set_title(name if only.name == only.scheme else f"{name}: {only.scheme}", loc="left")
    return figure


def _overlaps_s(rounds: pd.DataFrame) -> pd.Series:
    """The overlap of each round, 0 where none was recorded, as by earlier versions."""
    if "overlap_s" not in rounds:
        return pd.Series(0.0, rounds.index)
    return rounds["overlap_s"].astype(float).fillna(0.0)


def _by_scheme(runs: Runs, width: Width, shown: Sequence[str]) -> Figure:
    """A panel for each setting, with a stacked bar for each scheme."""
    settings = settings_of(runs)
    tables = [phase_means(setting, shown) for setting in settings]
    columns = 2 if width == "page" and len(settings) > 1 else 1
    rows = math.ceil(len(settings) / columns)
    bars = [max(map(len, tables[row * columns : (row + 1) * columns])) for row in range(rows)]
    titles = [wrapped(setting.label, 42) for setting in settings]
    in_rows = [titles[row * columns : (row + 1) * columns] for row in range(rows)]
    further = [max(title.count("\n") for title in each) for each in in_rows]  # lines of titles
    heights = [0.45 + 0.27 * each + 0.14 * lines for each, lines in zip(bars, further, strict=True)]
    figure = new_figure(width, 0.7 + sum(heights))
    panels = list(figure.subplots(rows, columns, squeeze=False, height_ratios=heights).flat)
    for number, (axes, title, table) in enumerate(zip(panels, titles, tables, strict=False)):
        _draw_schemes(axes, table, shown)
        axes.set_ylim(bars[number // columns] - 0.5, -0.5)
        axes.set_title(title, loc="left", fontsize=7)
        if number + columns >= len(settings):  # nothing below it
            axes.set_xlabel(_of_how_many(tables))
    for axes in panels[len(settings) :]:
        axes.remove()
    _share_scales(panels[: len(settings)], [setting.study for setting in settings])
    return figure


def _of_how_many(tables: Sequence[pd.DataFrame]) -> str:
    """The label of the durations, with the number of seeds."""
    seeds = sorted({int(count) for table in tables for count in table["runs"]})
    of = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"mean duration of a round (s), {of} seed{'s' if seeds[-1] > 1 else ''}"


def phase_means(setting: Setting, shown: Sequence[str]) -> pd.DataFrame:
    """Mean durations of a setting's rounds in seconds: a row for each scheme, its index.

    The columns are the phases `shown`, `overlap` (of the phase `pipeline` with the exchange),
    `total`, `interval` (half the 95 % confidence interval of the total over seeds, nan where there
    is one) and `runs`, their number.
    """
    rows = {}
    for scheme in setting.schemes:
        rounds = pd.concat([run.rounds.assign(run=n) for n, run in enumerate(_of(setting, scheme))])
        columns = [f"{phase}_s" for phase in shown]
        rounds = rounds.fillna(dict.fromkeys(columns, 0.0))  # phases that a round did not have
        rounds["overlap_s"] = _overlaps_s(rounds)
        means = rounds.groupby("run")[[*columns, "overlap_s", "duration_s"]].mean()
        of_phases = {phase: float(means[f"{phase}_s"].mean()) for phase in shown}
        of_phases["overlap"] = float(means["overlap_s"].mean())
        totals = means["duration_s"].to_numpy(float)
        of_total = {"total": float(totals.mean()), "interval": interval(totals)}
        rows[scheme] = {**of_phases, **of_total, "runs": len(means)}
    return pd.DataFrame.from_dict(rows, orient="index")


def _of(setting: Setting, scheme: str) -> list[Runs]:
    return list(setting.of_scheme(scheme))


def _draw_schemes(axes: Axes, table: pd.DataFrame, shown: Sequence[str]) -> None:
    places = np.arange(len(table))
    left = np.zeros(len(table))
    for phase in shown:
        colour, hatch = PHASES[phase]
        lengths_s = table[phase].to_numpy(float)
        axes.barh(
            places,
            lengths_s,
            0.72,
            left,
            label=phase,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.3,
        )
        if phase == "pipeline" and table["overlap"].any():
            label, dots = _OVERLAP
            axes.barh(
                places,
                table["overlap"].to_numpy(float),
                0.72,
                left,
                label=label,
                color=PHASES["pipeline"][0],
                hatch=dots,
                edgecolor="white",
                linewidth=0.0,
            )
        left += lengths_s
    totals, halves = table["total"].to_numpy(float), table["interval"].to_numpy(float)
    axes.errorbar(
        totals, places, xerr=halves, fmt="none", ecolor=BLACK, elinewidth=1, capsize=2, zorder=3
    )
    for place, total, half in zip(places, totals, halves, strict=True):
        end = total + (half if math.isfinite(half) else 0.0)
        axes.annotate(
            _with_interval(total, half),
            (end, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=6,
        )
    axes.set_yticks(places, [shortened(scheme, 18) for scheme in table.index])
    ends = totals + np.where(np.isfinite(halves), halves, 0.0)
    axes.set_xlim(0, 1.3 * float(ends.max()) or 1.0)
    axes.grid(visible=False, axis="y")


def _with_interval(total: float, half: float) -> str:
    """A value and its interval, both to the interval's second significant digit."""
    if not math.isfinite(half) or half == 0:
        return f"{total:.4g}"
    decimals = max(0, 1 - math.floor(math.log10(half)))
    return f"{total:.{decimals}f} ± {half:.{decimals}f}"


def _share_scales(panels: Sequence[Axes], studies: Sequence[str]) -> None:
    """Gives the panels of a study the same scale of time."""
    for study in dict.fromkeys(studies):
        own = [axes for axes, name in zip(panels, studies, strict=True) if name == study]
        right = max(axes.get_xlim()[1] for axes in own)
        for axes in own:
            axes.set_xlim(0, right)
