"""Prints a preview: measured links, the plan, its explanation, and the predicted timeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from rich.console import Console
from rich.table import Table

from collapipe_ns3.cli import gantt
from collapipe_ns3.cli.tables import new_table, print_table, print_text
from collapipe_ns3.eventgraph.timeline import Timeline
from collapipe_ns3.observed import MeasuredLink
from collapipe_ns3.phases import PIPELINE_PHASES, Phase
from collapipe_ns3.plan import LinkPlan, Recovery
from collapipe_ns3.quantity import to_db, to_dbm
from collapipe_ns3.run.preview import Preview

#: The width of the chart; it is left out if the terminal has no room for the smallest width.
_MAX_CHART_COLUMNS = 58
_MIN_CHART_COLUMNS = 20


def print_preview(console: Console, shown: Preview) -> None:
    """Prints all parts of a preview, one below the other."""
    console.print("[bold]measured links[/]")
    print_table(console, _links(shown.links, shown.plan.links))
    others = len(shown.links) - sum(len(link.receivers) == 1 for link in shown.plan.links)
    if shown.plan.links and others > 0:
        console.print(f"and {others} links that the plan doesn't use: see --json\n")
    console.print("[bold]plan[/]")
    print_text(console, str(shown.plan))
    if shown.explanation:
        console.print("\n[bold]explanation[/]")
        _print_explanation(console, shown.explanation)
    console.print("\n[bold]predicted timeline[/]")
    if not shown.plan.has_pipelines:
        console.print("none: the round waits until a device returns")
    elif shown.timeline is None:
        console.print("none: the links are so slow that the round would take hours")
    else:
        _print_timeline(console, shown.timeline)


def _links(links: Iterable[MeasuredLink], planned: Sequence[LinkPlan]) -> Table:
    """The links of the plan with their grants, or all links if the plan names none."""
    grants = {(link.src, link.dst): link.given for link in planned if len(link.receivers) == 1}
    table = new_table("link", "gain dB", "noise dBm/Hz", "at dBm", "SINR dB", "planned")
    for link in links:
        if grants and (link.src, link.dst) not in grants:
            continue
        table.add_row(
            f"{link.src} → {link.dst}",
            f"{to_db(link.gain):.1f}",
            f"{to_dbm(link.interference_w_hz):.1f}",
            f"{to_dbm(link.tx_power_w):.1f}",
            f"{to_db(link.sinr):.1f}",
            grants.get((link.src, link.dst), ""),
        )
    for group in (link for link in planned if len(link.receivers) > 1):
        table.add_row(str(group), "", "", "", "", group.given)
    return table


def _print_explanation(console: Console, explanation: Mapping[str, Any]) -> None:
    """Prints DSSRA's explanation in tables, and that of any other scheme as it is."""
    if not {"moves", "terms", "finalists"} <= explanation.keys():
        for key, value in explanation.items():
            print_text(console, f"{key}: {value}")
        return
    table = new_table("sweep", "sub-problem", "objective before", "after")
    for move in explanation["moves"]:
        table.add_row(
            str(move["sweep"]), move["block"], f"{move['before']:.6g}", f"{move['after']:.6g}"
        )
    print_table(console, table)
    terms = explanation["terms"]
    console.print(
        f"by closed forms {sum(terms.values()):.6g}: delay {terms['delay']:.6g}, "
        f"energy {terms['energy']:.6g}, divergence {terms['divergence']:.6g}"
    )
    if explanation["finalists"]:
        console.print("by event graphs, of which the smallest is chosen:")
    for each in explanation["finalists"]:
        exchange = "" if each["exchange"] in each["name"] else f" ({each['exchange']})"
        line = f"{each['objective']:.6g}  {each['round_s']:.3f} s  {each['name']}{exchange}"
        print_text(console, f"  {line}")
    if (hazards := explanation.get("hazards")) is not None:
        recovery = Recovery(**hazards["recovery"])
        console.print(
            f"as nodes may leave, the round is expected to take {hazards['expected_s']:.3f} s, and "
            f"{hazards['fault_free_s']:.3f} s without losses; {hazards['progress']:.1%} of its "
            "contributions are expected to arrive"
        )
        print_text(console, str(recovery))


def _print_timeline(console: Console, timeline: Timeline) -> None:
    """Prints the phases of every pipeline, and a chart of the first local step of every cluster.

    Where parameters travel during the steps of any pipeline, a column says for how long.
    """
    overlapping = any(times.overlap_ns for times in timeline.pipelines)
    columns = [f"{name} s" for name in (*PIPELINE_PHASES, *(["overlap"] if overlapping else []))]
    table = new_table("cluster", *columns, "step s")
    for times in timeline.pipelines:
        steps = [times.ends_ns[Phase.BROADCAST], *times.steps_ns]
        step_s = sum(after - before for before, after in pairwise(steps)) / len(times.steps_ns)
        parts = [*times.phases_ns.values(), *([times.overlap_ns] if overlapping else [])]
        phases = [f"{part / 1e9:.3f}" for part in parts]
        table.add_row(str(times.cluster), *phases, f"{step_s / 1e9:.4f}")
    print_table(console, table)
    label = max((len(row.name) for row in gantt.rows(timeline)), default=0)
    width = min(_MAX_CHART_COLUMNS, console.width - label - len(" ││"))
    if width < _MIN_CHART_COLUMNS:
        console.print(f"round {timeline.total_ns / 1e9:.3f} s")
        return
    console.print(
        f"round {timeline.total_ns / 1e9:.3f} s; first step of each cluster, darker where busier:\n"
    )
    for number, pipelines in groupby(timeline.pipelines, key=lambda times: times.cluster):
        together = list(pipelines)
        since_ns = min(each.ends_ns[Phase.BROADCAST] for each in together)
        until_ns = max(each.steps_ns[0] for each in together)
        chart = gantt.text(timeline, width, number, since_ns, until_ns)
        console.print(chart + "\n", markup=False, soft_wrap=True)
