"""The table of fronts has the means over seeds, and says what no other point dominates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import write_campaign, write_run

from analysis import Runs, load
from analysis.fronts import fronts, on_front

V, MEMORY = "scheme.settings.v", "scheme.settings.memory_budget_bytes"

#: Round time (s), device memory (bytes) and device energy (J) by the budget of memory.
TAKEN = {1e6: (4.0, 1e6, 5.0), 2e6: (3.0, 2e6, 5.0), 3e6: (3.5, 3e6, 6.0)}


def write(
    folder: Path, scheme: str, seed: int, taken: tuple[float, float, float], **settings: Any
) -> None:
    round_s, held, joules = taken
    write_run(
        folder,
        scheme=scheme,
        seed=seed,
        study={"scheme": {"name": scheme, "settings": settings}},
        rounds=[{"duration_s": round_s}],
        devices=[{"device": "c0.d0", "peak_memory_bytes": int(held), "compute_energy_j": joules}],
    )


def campaign(folder: Path, seeds: int = 2) -> Runs:
    """A grid over the budget of memory, which only `collapipe` has; `titanic` is the same at all.

    The first seed is half a second faster than in `TAKEN`, and the second slower.
    """
    points: dict[str, dict[str, str]] = {}
    for budget, (round_s, held, joules) in TAKEN.items():
        for seed in range(seeds):
            own = (round_s + seed - 0.5 * (seeds - 1), held, joules)
            for scheme in ("collapipe", "titanic"):
                name = f"{scheme}-{seed}-{budget:g}"
                is_titanic = scheme == "titanic"
                taken = (3.0, 4e6, 1.0) if is_titanic else own
                settings = {} if is_titanic else {"memory_budget_bytes": budget}
                write(folder / "cells" / name, scheme, seed, taken, **settings)
                points[name] = {MEMORY: f"{budget / 1e6:g} MB"}
    return load(write_campaign(folder, points))


def test_a_row_has_the_means_and_intervals_of_a_scheme_at_a_point(tmp_path: Path) -> None:
    table = fronts(campaign(tmp_path))
    own = table[table["scheme"] == "collapipe"].set_index(MEMORY)
    for budget, (round_s, held, joules) in TAKEN.items():
        row = own.loc[budget]
        assert row["point"] == f"{MEMORY} = {budget / 1e6:g} MB"
        assert row["seeds"] == 2
        assert row["round_s"] == pytest.approx(round_s)
        # Student's t for two seeds at 95 %: 12.706 · s / √2, and s is 1/√2 here.
        assert row["round_s_ci95"] == pytest.approx(12.706 / 2, rel=1e-4)
        assert row["peak_device_memory_bytes"] == held
        assert row["device_energy_j"] == joules
        assert row["device_energy_j_ci95"] == 0


def test_a_scheme_without_the_settings_of_the_grid_has_one_row(tmp_path: Path) -> None:
    table = fronts(campaign(tmp_path))
    (row,) = table[table["scheme"] == "titanic"].to_dict("records")
    assert (row["point"], row["seeds"], row["round_s"]) == ("", 2, 3.0)
    assert math.isnan(row[MEMORY])


def test_what_nothing_dominates_is_on_the_front(tmp_path: Path) -> None:
    table = fronts(campaign(tmp_path))
    # 3 MB takes longer than 2 MB, and more memory and energy.
    assert table[table["on_front"]]["scheme"].tolist() == ["collapipe", "titanic", "collapipe"]
    assert set(table[table["on_front"]][MEMORY].dropna()) == {1e6, 2e6}


def test_runs_of_another_study_dominate_nothing(tmp_path: Path) -> None:
    for name, seconds in (("near", 1.0), ("far", 9.0)):
        write_run(
            tmp_path / name,
            study={"name": name},
            rounds=[{"duration_s": seconds}],
            devices=[{"device": "c0.d0", "peak_memory_bytes": 1, "compute_energy_j": 1.0}],
        )
    table = fronts(load(tmp_path / "near", tmp_path / "far"))
    assert table["on_front"].tolist() == [True, True]


@given(
    st.lists(
        st.tuples(*[st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan, math.inf])] * 3),
        min_size=1,
        max_size=12,
    )
)
def test_the_front_is_that_of_the_definition(rows: list[tuple[float, ...]]) -> None:
    def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        pairs = list(zip(one, other, strict=True))
        return all(math.isfinite(x) for x in one) and (
            all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)
        )

    expected = [
        all(map(math.isfinite, row)) and not any(dominates(other, row) for other in rows)
        for row in rows
    ]
    assert on_front(np.array(rows)).tolist() == expected
