"""The trade between round time, device memory and device energy, as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.compare import interval
from analysis.figures.points import compared
from analysis.figures.settings import Setting, settings_of
from analysis.load import Run, Runs

#: What is traded, in this order: metrics of `analysis.compare.METRICS` of which less is better.
OBJECTIVES = ("round_s", "peak_device_memory_bytes", "device_energy_j")


def fronts(runs: Runs) -> pd.DataFrame:
    """A row for each scheme at each point of a campaign's grid, with what it takes there.

    The columns of each of `OBJECTIVES` are its mean over seeds, in SI units (seconds, bytes, joules
    in a round), and with `_ci95` half of its 95 % interval. `on_front` says whether no other row
    of the same study is at least as good in all three and better in one. `point` is what the runs
    differ by, as text, and each key of the grid has a column, missing (None) for schemes without
    that setting. A scheme whose runs are the same at several points, as it has none of the settings
    that vary, has one row. Raises `CannotDraw` for runs that can't be compared.
    """
    settings = settings_of(runs)
    frame = compared(settings).runs
    members: dict[tuple[str, str], list[tuple[Setting, Run]]] = {}
    for setting in settings:
        for scheme in setting.schemes:
            first = next(setting.of_scheme(scheme)).runs[0]
            members.setdefault((scheme, _without_seed(first)), []).append((setting, first))
    rows = []
    for (scheme, _), alike in members.items():
        setting, first = alike[0]
        at = frame[(frame["point"] == setting.label) & (frame["scheme"] == scheme)]
        row: dict[str, object] = {
            "study": setting.study,
            "point": setting.label if len(alike) == 1 else "",
            "scheme": scheme,
            "seeds": len(at),
            **{key: _value(first.study, key) for key in runs.grid},
        }
        for name in OBJECTIVES:
            row |= {name: at[name].mean(), f"{name}_ci95": interval(at[name].to_numpy(float))}
        rows.append(row)
    table = pd.DataFrame(rows).assign(on_front=False)
    for _, of_study in table.groupby("study"):
        table.loc[of_study.index, "on_front"] = on_front(of_study[list(OBJECTIVES)].to_numpy(float))
    return table


def _without_seed(run: Run) -> str:
    """What runs with other seeds have in common, as text."""
    return json.dumps({**run.study, "seed": None}, sort_keys=True)


def _value(study: Mapping[str, Any], key: str) -> object:
    """The value of a key in a resolved study, None where it has no such key."""
    here: Any = study
    for part in key.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def on_front(values: np.ndarray) -> np.ndarray:
    """For each row of an array (N, k), whether no other row dominates it; an array (N,) of bool.

    A row dominates another where it is smaller in one column and not larger in any. A row with a
    value that is not finite is not on the front. Equal rows do not dominate each other.
    """
    finite = np.isfinite(values).all(axis=1)
    known = np.where(finite[:, None], values, np.inf)
    no_larger = (known[:, None] <= known).all(axis=2)
    smaller = (known[:, None] < known).any(axis=2)
    return np.asarray(finite & ~(no_larger & smaller).any(axis=0))
