"""The points of a campaign's grid, and the metrics of the runs at each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.compare import ComparedRun, Comparison, Metric, compare
from analysis.figures.settings import Setting
from analysis.figures.style import CannotDraw
from analysis.load import Run

#: The unit of a study's keys by their endings, the longest first.
_UNITS: Mapping[str, str] = {
    "_flops_per_s": "FLOP/s",
    "_bytes": "B",
    "_dbm": "dBm",
    "_bps": "bit/s",
    "_m_s": "m/s",
    "_hz": "Hz",
    "_db": "dB",
    "_w": "W",
    "_j": "J",
    "_m": "m",
    "_s": "s",
}

#: The units that are written with a prefix where that makes numbers short.
_PREFIXED = ("Hz", "FLOP/s", "B", "bit/s")

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def compared(settings: Sequence[Setting]) -> Comparison:
    """All metrics of the runs of these settings; `point` is the setting's label."""
    return compare(
        [ComparedRun(setting.label, one) for setting in settings for one in setting.runs]
    )


def metric_of(comparison: Comparison, name: str) -> Metric:
    """The metric with this name; raises `CannotDraw`, which lists all names."""
    if name not in comparison.metrics:
        raise CannotDraw(f"no metric {name!r}; there are {', '.join(comparison.metrics)}")
    return comparison.metrics[name]


def metric_label(metric: Metric) -> str:
    """The metric with its unit, as the label of an axis."""
    return f"{metric.label} ({metric.unit})" if metric.unit else metric.label


def scaled(frame: pd.DataFrame, name: str, metric: Metric) -> pd.Series:
    """A metric's values in the unit that it is printed in."""
    values: pd.Series = frame[name] * metric.scale
    return values


def value_of(run: Run, key: str) -> float | str:
    """The value of a grid's key: a number in SI units where it is one, else its text.

    The number is that of the resolved study, as a grid's value may be text such as `20 MHz`.
    """
    node: Any = run.study
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    for value in (node, run.point[key]):
        if isinstance(value, bool):
            break
        try:
            return float(value)
        except (TypeError, ValueError):
            continue
    return run.point[key]


def unit_of(key: str, largest: float) -> tuple[str, float]:
    """The unit in which a key's values are written, and the factor to it from the study's unit.

    The unit is empty where the key's ending names none.
    """
    name = f"_{key.rpartition('.')[2]}"  # the whole name may be the unit: flops_per_s
    unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")
    if unit in _PREFIXED:
        for factor, prefix in _PREFIXES:
            if abs(largest) >= factor:
                return prefix + unit, 1 / factor
    return unit, 1.0
