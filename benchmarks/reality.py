"""The errors of DSSRA's predictions against measurements of ns-3, from the records of runs.

`python -m benchmarks.reality RUN_DIR… [--figure FILE]` reads the `plans.jsonl` of runs of the
scheme `collapipe`, prints the errors of times and of nodes' energies, and draws them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

TIMES = {"step_s": "training step", "round_s": "round"}
ENERGIES = {"energy_j": "energy", "tx_energy_j": "sending", "rx_energy_j": "receiving"}


def read(directory: Path) -> pd.DataFrame:
    """A row for each round and quantity: study, round, name, quantity, predicted, measured (s, J).

    Times are those of the round, energies those of every node.
    """
    columns = ["study", "round", "name", "quantity", "predicted", "measured"]
    rows = []
    for line in (directory / "plans.jsonl").read_text().splitlines():
        record = json.loads(line)
        rows += [
            {"study": directory.name, "round": record["round"], **row}
            for row in record["explanation"].get("measured", ())
            if row["quantity"] in TIMES | ENERGIES
        ]
    return pd.DataFrame(rows, columns=columns)


def errors(rows: pd.DataFrame) -> pd.DataFrame:
    """The median and largest error, relative to the measurement, and the median of round 0.

    Energies that were not and should not be spent are left out.
    """
    rows = rows[(rows["measured"] > 0) | (rows["predicted"] > 0)]
    rows = rows.assign(error=(rows["predicted"] / rows["measured"] - 1).abs())
    found = rows.groupby(["study", "quantity"])["error"].agg(["count", "median", "max"])
    first = rows[rows["round"] == 0].groupby(["study", "quantity"])["error"].median()
    return found.assign(round_0=first)


def figure(rows: pd.DataFrame, path: str) -> None:
    """Draws a column for each run: times over rounds, and each node's energy, with predictions."""
    from matplotlib import pyplot

    studies = list(rows["study"].unique())
    made, panels = pyplot.subplots(
        2, len(studies), figsize=(3.2 * len(studies), 5.2), layout="constrained", squeeze=False
    )
    for (times, energies), study in zip(panels.T, studies, strict=True):
        run = rows[rows["study"] == study]
        for (quantity, name), colour in zip(TIMES.items(), ("C1", "C0"), strict=True):
            part = run[run["quantity"] == quantity]
            times.plot(part["round"], part["measured"], colour, label=f"{name}, measured")
            times.plot(part["round"], part["predicted"], f"{colour}x", label=f"{name}, predicted")
        times.set(title=study, xlabel="round", ylim=(0, None))
        for (quantity, name), colour in zip(ENERGIES.items(), ("C0", "C1", "C2"), strict=True):
            part = run[(run["quantity"] == quantity) & (run["measured"] > 0)]
            energies.loglog(part["measured"], part["predicted"], f"{colour}.", ms=3, label=name)
        ends = energies.get_xlim()
        energies.plot(ends, ends, "k", linewidth=0.5)
        energies.set(xlabel="measured / J", xlim=ends)
    panels[0][0].set_ylabel("time / s")
    panels[0][-1].legend(fontsize="x-small")
    panels[1][0].set_ylabel("predicted / J, each node and round")
    panels[1][-1].legend(fontsize="x-small")
    made.savefig(path, dpi=90)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Predictions of runs against what was measured.")
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
