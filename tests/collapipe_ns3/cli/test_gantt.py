"""The chart of a timeline with multicasts, and the table of its phases."""

from __future__ import annotations

import dataclasses
import io

import lab
from rich.console import Console
from timelines import LabCosts, workload

from bridge.fixed import Link
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.cli import gantt
from collapipe_ns3.cli.plan_view import _print_timeline
from collapipe_ns3.eventgraph.timeline import Timeline, build_timeline
from collapipe_ns3.exchange import Blocks, Units
from collapipe_ns3.plan import ClusterPlan, RoundPlan

#: The base station reaches c1.cu at half of the rate.
LINKS = {
    ("bs", "c0.cu"): Link(8_000_000, latency_ns=500),
    ("bs", "c1.cu"): Link(4_000_000),
}


def predicted(chunk_bytes: int | None) -> Timeline:
    clusters = tuple(ClusterPlan(n, (lab.pipeline(n, (2, 2), 2, "1f1b"),)) for n in range(2))
    plan = RoundPlan(0, "test", clusters)
    shared = Arrangement(groups=(Group((0, 1)),), chunk_bytes=chunk_bytes)
    plan = dataclasses.replace(plan, exchange=arranged(plan.placements(), shared))
    costs = LabCosts(lab.profiles(lab.nodes(plan), {}), LINKS)
    return build_timeline(plan, workload(0, 1), costs)


def test_a_multicast_has_a_bar_for_each_receiver_in_the_chart_of_its_cluster() -> None:
    made = predicted(None)
    sent = Units(True, (Blocks(0, 3),))  # the base station has the decoder
    hold_ns = 2_000 * lab.COSTS.units_bytes(sent)  # at the rate of the link to c1.cu
    ends = {}
    for cluster in range(2):
        charted = {(row.src, row.dst): row.bars for row in gantt.rows(made, cluster)}
        model, *_ = charted["bs", f"c{cluster}.cu"]
        assert ("bs", f"c{1 - cluster}.cu") not in charted
        assert (model.what, model.cluster, model.start_ns) == ("model", cluster, 0)
        ends[cluster] = model.end_ns
    assert ends == {0: hold_ns + 500, 1: hold_ns}
    assert "bs → c1.cu" in gantt.text(made, cluster=1)


def test_the_table_says_how_long_parameters_travel_during_training() -> None:
    for made, shown in ((predicted(None), False), (predicted(500), True)):
        assert all(bool(times.overlap_ns) is shown for times in made.pipelines)
        written = io.StringIO()
        _print_timeline(Console(file=written, width=100), made)
        assert ("overlap s" in written.getvalue()) is shown
