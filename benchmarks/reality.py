"""How near DSSRA's predictions come to what ns-3 measures, from the records of runs.

`python -m benchmarks.reality RUN_DIR… [--figure FILE]` reads the `plans.jsonl` of runs of the
scheme `collapipe`, prints the errors of step and round times, and draws them over rounds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

FIGURES = {"step_s": "training step", "round_s": "round"}


def read(directory: Path) -> pd.DataFrame:
    """A row a round and figure: study, round, what, predicted, measured; times in seconds."""
    rows = []
    for line in (directory / "plans.jsonl").read_text().splitlines():
        record = json.loads(line)
        rows += [
            {"study": directory.name, "round": record["round"], **row}
            for row in record["explanation"].get("measured", ())
            if row["what"] in FIGURES
        ]
    return pd.DataFrame(rows, columns=["study", "round", "what", "predicted", "measured"])


def errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Median and largest error, relative to what was measured, and that of round 0."""
    rows = rows.assign(error=(rows["predicted"] / rows["measured"] - 1).abs())
    found = rows.groupby(["study", "what"])["error"].agg(["count", "median", "max"])
    first = rows[rows["round"] == 0].set_index(["study", "what"])["error"]
    return found.assign(round_0=first)


def figure(rows: pd.DataFrame, path: str) -> None:
    """Round times, predicted and measured, over rounds: a panel a run."""
    from matplotlib import pyplot

    studies = list(rows["study"].unique())
    made, panels = pyplot.subplots(
        1, len(studies), figsize=(3.2 * len(studies), 2.6), layout="constrained", squeeze=False
    )
    for panel, study in zip(panels[0], studies, strict=True):
        for (what, name), colour in zip(FIGURES.items(), ("C1", "C0"), strict=True):
            part = rows[(rows["study"] == study) & (rows["what"] == what)]
            panel.plot(part["round"], part["measured"], colour, label=f"{name}, measured")
            panel.plot(part["round"], part["predicted"], f"{colour}x", label=f"{name}, predicted")
        panel.set(title=study, xlabel="round", ylim=(0, None))
    panels[0][0].set_ylabel("time / s")
    panels[0][-1].legend(fontsize="x-small")
    made.savefig(path, dpi=90)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Predicted against measured times of runs.")
    parser.add_argument("directories", nargs="+", type=Path, metavar="RUN_DIR")
    parser.add_argument("--figure", metavar="FILE")
    given = parser.parse_args(arguments)
    rows = pd.concat([read(directory) for directory in given.directories], ignore_index=True)
    with pd.option_context("display.float_format", lambda x: f"{x:.1%}"):
        print(errors(rows).replace(np.nan, 0.0))
    if given.figure:
        figure(rows, given.figure)


if __name__ == "__main__":
    main()
