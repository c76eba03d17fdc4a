"""The rounds of a run, and its failed pipelines, as the command line prints them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from collapipe_ns3.cli.tables import new_table

if TYPE_CHECKING:
    import pandas as pd

_MIB = 2**20


def rounds_table(rounds: pd.DataFrame) -> Table:
    """The time, loss, energy and memory of each round of a run."""
    columns = {
        "round": ("round", "{:d}"),
        "duration_s": ("time s", "{:.2f}"),
        "broadcast_s": ("bcast s", "{:.2f}"),
        "pipeline_s": ("pipe s", "{:.2f}"),
        "gather_s": ("gather", "{:.2f}"),
        "upload_s": ("upload", "{:.2f}"),
        "loss": ("loss", "{:.3f}"),
        "metric": ("metric", "{:.3f}"),
        "device_energy_j": ("dev. J", "{:.1f}"),
        "peak_device_memory_bytes": ("MiB", "{:.1f}"),
    }
    table = new_table(*(heading for heading, _ in columns.values()))
    table.columns[0].justify = "right"
    for _, row in rounds.iterrows():
        values: dict[str, Any] = dict(row)
        values["round"] = int(values["round"])
        values["peak_device_memory_bytes"] /= _MIB
        table.add_row(*(form.format(values[key]) for key, (_, form) in columns.items()))
    return table


def waiting_lines(rounds: pd.DataFrame) -> Iterator[str]:
    """A line for each round in which nobody could take part."""
    for _, row in rounds[rounds["waited_s"] > 0].iterrows():
        waited = f"waited {row['waited_s']:.2f} s for a device to return"
        yield f"[yellow]round {row['round']}[/]: {waited}"


def failure_lines(pipelines: pd.DataFrame) -> Iterator[str]:
    """A line for each abandoned cluster, and for each other pipeline that failed or was late."""
    for (number, cluster), group in pipelines.groupby(["round", "cluster"]):
        failed = group[group["fate"] == "failed"]
        if len(failed) == len(group):
            why = "; ".join(dict.fromkeys(failed["reason"]))
            yield f"[yellow]round {number}[/]: abandoned cluster {cluster}: {escape(why)}"
            continue
        averaged = int((group["fate"] == "averaged").sum())
        others = f", the cluster's other {averaged} averaged" if averaged else ""
        for _, row in group[group["fate"] != "averaged"].iterrows():
            fate = "failed" if row["fate"] == "failed" else "was late"
            yield (
                f"[yellow]round {number}[/]: pipeline {row['pipeline']} of cluster {cluster} "
                f"({row['devices']}) {fate}{others}: {escape(row['reason'])}"
            )
