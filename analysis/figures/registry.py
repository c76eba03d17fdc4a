"""The table of all figures, by the names that the command line and the report use."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from matplotlib.figure import Figure

from analysis.figures.style import WIDTHS_IN, CannotDraw
from analysis.load import Runs

__all__ = ["FIGURES", "OPTIONS", "CannotDraw", "FigureKind", "draw"]


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A figure: what it shows, and where its function is.

    `caption` explains to a reader how to read it, in one or two sentences. `target` is the module
    and function, as in `analysis.figures.phases:phases`; it is imported when it is first needed.
    """

    name: str
    title: str
    caption: str
    target: str

    @property
    def function(self) -> Callable[..., Figure]:
        module, _, name = self.target.partition(":")
        function: Callable[..., Figure] = getattr(import_module(module), name)
        return function

    @property
    def options(self) -> Mapping[str, inspect.Parameter]:
        """The keyword options of the function, `width` among them."""
        parameters = inspect.signature(self.function).parameters
        return {k: p for k, p in parameters.items() if p.kind is p.KEYWORD_ONLY}

    def draw(self, runs: Runs, **options: Any) -> Figure:
        """The figure of these runs; raises `CannotDraw` where a table has not what it needs.

        Raises `TypeError` for an option that it does not have, `ValueError` for another width.
        """
        for option in options:
            if option not in self.options:
                has = ", ".join(self.options)
                raise TypeError(f"the figure {self.name} has no option {option!r}; it has {has}")
        if (width := options.get("width", "page")) not in WIDTHS_IN:
            raise ValueError(f"width: expected {' or '.join(WIDTHS_IN)}, not {width!r}")
        return self.function(runs, **options)


_KINDS = (
    FigureKind(
        "timeline",
        "Timeline of a round",
        "What the nodes do in one round: above, the whole round; below, one local step. Each row "
        "has a node's computations with the numbers of their micro-batches, and below them the "
        "transfers that it sends and those that it receives. The bubble share at the right is 1 − "
        "computing time / length of the pipeline phase, which lasts from the first forward to the "
        "last optimizer step of the node's pipelines.",
        "analysis.figures.timeline:timeline",
    ),
    FigureKind(
        "phases",
        "Round time by phase",
        "The mean duration of a round of each scheme, divided into the phases of the pipeline that "
        "finished last, with the 95 % confidence interval of the total over seeds; of one run, the "
        "duration of each round. Where an exchange is streamed, dots cover the share of the "
        "pipeline in which parameters were on their way.",
        "analysis.figures.phases:phases",
    ),
    FigureKind(
        "learning",
        "Loss and metric",
        "The loss and the main metric on the test set against simulated time and against rounds: "
        "means over seeds with 95 % confidence intervals. Over time, a run has the value after its "
        "last round that has ended; runs with values that are not finite count as diverged.",
        "analysis.figures.learning:learning",
    ),
    FigureKind(
        "memory",
        "Memory of the devices",
        "The largest memory that each device needed in any round and seed, by scheme, and its "
        "limit. A line leads to the smallest value among the seeds; devices without a part of the "
        "model are left out.",
        "analysis.figures.memory:memory",
    ),
    FigureKind(
        "energy",
        "Energy of the devices",
        "Above, the mean energy of each device in a round by component, and its budget. Below, one "
        "run over rounds: all devices together, and the virtual queue of each node, which says how "
        "far its energy is beyond its budgets so far (without queues: the energy of each device).",
        "analysis.figures.energy:energy",
    ),
    FigureKind(
        "map",
        "Map",
        "Where the nodes are when a round begins, and a detail of each cluster. Arrows are the "
        "links of the plan, coloured by their SINR. In the details, the number in a device is its "
        "stage, and the numbers after its name are its blocks.",
        "analysis.figures.site_map:site_map",
    ),
    FigureKind(
        "prediction",
        "Prediction against measurement",
        "What the scheme predicted of each round against what was measured: durations, and the "
        "energy of each node. Boxes have the quartiles of the relative error, lines its 5th to "
        "95th percentile.",
        "analysis.figures.prediction:prediction",
    ),
    FigureKind(
        "goodput",
        "Goodput over SINR",
        "Payload bits of each transfer for each second and hertz on the air, over its mean "
        "SINR, and the curve that planners expect of a long transfer. Retransmissions, fading "
        "and interference keep transfers below the curve.",
        "analysis.figures.goodput:goodput",
    ),
    FigureKind(
        "distributions",
        "Distributions of the transfers",
        "The share of transfers with a SINR and a delay up to each value, and with more than "
        "each number of retransmissions. The delay includes waiting for the channel; soundings "
        "and transfers that did not arrive are left out.",
        "analysis.figures.distributions:distributions",
    ),
    FigureKind(
        "grid",
        "Grid of a campaign",
        "A metric over the settings that the campaign varies, as means over seeds: lines with "
        "95 % intervals for one setting, heat maps for two, or a map of the best scheme with "
        "its advantage over the next one, in parentheses where the interval of the difference "
        "includes 0.",
        "analysis.figures.grid:grid",
    ),
    FigureKind(
        "fronts",
        "Round time against memory and energy",
        "The mean round time of each scheme against the memory and the energy that it takes, "
        "with 95 % intervals. Markers are filled where no other point is at least as good in all "
        "three and better in one. The line is the Pareto front of round time and memory, or of "
        "round time and energy.",
        "analysis.figures.fronts:fronts",
    ),
)

#: All figures by name, in the order of the report.
FIGURES: Mapping[str, FigureKind] = {kind.name: kind for kind in _KINDS}

#: What the options of figures mean, by the names of parameters; options of one name mean the same.
OPTIONS: Mapping[str, str] = {
    "run": "the name of the run, the first unless given",
    "round_number": "the round; the timeline has the slowest and the map the last unless given",
    "cluster": "the cluster whose nodes the detail shows, where there are too many for all",
    "step": "the local step that the detail shows",
    "window_s": "instead of a local step, start and end in seconds since the round began",
    "most_devices": "how many devices are shown, those with the largest values",
    "by": "what has a colour of its own; where there are several schemes, the scheme unless given",
    "kind": "only transfers of this kind, such as activation",
    "metric": "the metric of the comparison, such as final_loss or device_energy_j",
    "show": "the means of each scheme, or the best scheme in each cell",
}


def draw(name: str, runs: Runs, **options: Any) -> Figure:
    """The figure with this name; raises `CannotDraw`, and `KeyError` for an unknown name."""
    if name not in FIGURES:
        raise KeyError(f"there is no figure {name!r}; there are {', '.join(FIGURES)}")
    return FIGURES[name].draw(runs, **options)
