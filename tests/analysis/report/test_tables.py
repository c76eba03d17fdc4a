"""The tables of the report have the means of the runs, and say where seeds have no value."""

from __future__ import annotations

import math
from pathlib import Path

from synthetic_runs import write_run

from analysis import load
from analysis.report import settings, tables


def test_means_are_over_seeds_and_a_seed_without_a_value_is_counted(tmp_path: Path) -> None:
    paths = [
        write_run(
            tmp_path / f"{scheme}{seed}",
            scheme=scheme,
            seed=seed,
            rounds=[{"duration_s": duration, "metric": metric}],
        )
        for scheme, seed, duration, metric in (
            ("collapipe", 0, 1.0, 0.5),
            ("collapipe", 1, 3.0, math.nan),
            ("titanic", 0, 4.0, 0.5),
            ("titanic", 1, 4.0, 0.7),
        )
    ]
    compared = settings.compare_runs(load(*paths)).comparison
    assert compared is not None
    table = tables.means(compared)
    of = {row[0].text: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert of["collapipe"]["end-to-end delay [s]"].value == 2.0
    assert of["titanic"]["end-to-end delay [s]"].value == 4.0
    final = next(column for column in table.columns if column.startswith("final exact_match"))
    assert (of["collapipe"][final].text, of["collapipe"][final].value) == ("1 of 2", None)
    assert of["titanic"][final].value == 0.6
    assert any("how many have one" in note for note in table.notes)
