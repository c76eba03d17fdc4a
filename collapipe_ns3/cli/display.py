"""What commands print, as tables and lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from collapipe_ns3.cli.tables import new_table

if TYPE_CHECKING:
    import pandas as pd

    from collapipe_ns3.cli.doctor import Finding
    from collapipe_ns3.config.study import StudyConfig
    from collapipe_ns3.problems import StudyError

_MIB = 2**20


def rounds_table(rounds: pd.DataFrame) -> Table:
    """What a run's rounds took, learned and cost."""
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


def failure_lines(pipelines: pd.DataFrame) -> Iterator[str]:
    """A line for each cluster whose round was lost, and each pipeline that failed by itself."""
    for (number, cluster), group in pipelines.groupby(["round", "cluster"]):
        failed = group[group["fate"] == "failed"]
        if len(failed) == len(group):
            why = "; ".join(dict.fromkeys(failed["reason"]))
            yield f"[yellow]round {number}[/]: abandoned cluster {cluster}: {escape(why)}"
            continue
        for _, row in failed.iterrows():
            yield (
                f"[yellow]round {number}[/]: pipeline {row['pipeline']} of cluster {cluster} "
                f"({row['devices']}) failed, the cluster's other {len(group) - len(failed)} "
                f"averaged: {escape(row['reason'])}"
            )


def nodes_table(config: StudyConfig) -> Table:
    """A study's nodes: what they are, where, and how strong."""
    from collapipe_ns3.nodes import SERVER
    from collapipe_ns3.quantity import to_dbm
    from collapipe_ns3.topology import layout

    table = new_table("node", "profile", "east m", "north m", "dBm", "GFLOP/s", "memory GiB")
    table.columns[1].justify = "left"
    profiles = layout.profiles(config)
    for node in layout.scenario(config, config.seed, 0).nodes:
        profile = profiles.get(node.name, profiles[SERVER])  # further stations are alike
        east, north, _ = node.position
        table.add_row(
            node.name,
            profile.name,
            f"{east:.1f}",
            f"{north:.1f}",
            f"{to_dbm(profile.max_tx_power_w):.0f}",
            f"{profile.flops_per_s / 1e9:g}",
            f"{profile.memory_bytes / 2**30:.3g}",
            style="bold" if node.name == SERVER else None,
        )
    return table


def findings_table(findings: Iterable[Finding]) -> Table:
    """What the doctor found."""
    table = new_table("finding", "state", "detail", texts=["state", "detail"])
    for each in findings:
        mark = "[green]ok[/]" if each.ok else "[red]missing[/]"
        table.add_row(each.name, mark, escape(each.detail))
    table.show_header = False
    return table


def problem_lines(error: StudyError) -> str:
    """What is wrong with a study, a problem a line, with rich's markup."""
    lines = [f"[bold red]study {escape(error.study)} can't be run:[/]"]
    for problem in error.problems:
        where = f"[bold]{escape(problem.where)}[/]: " if problem.where else ""
        lines.append(f"  {where}{escape(problem.message)}")
    return "\n".join(lines)
