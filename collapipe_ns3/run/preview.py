"""Previews the next round: measures links, plans, and predicts the timeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from collapipe_ns3.dssra.planner import start_radio
from collapipe_ns3.dssra.planning_problem import unmeasured, workload
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.eventgraph.graph import TooManyEvents
from collapipe_ns3.eventgraph.timeline import Timeline
from collapipe_ns3.nodes import SERVER
from collapipe_ns3.observed import MeasuredLink, Observation
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.plan_timeline import predict_timeline, radio_of_plan
from collapipe_ns3.problems import Problem
from collapipe_ns3.reading.warnings import scheme_warnings
from collapipe_ns3.run.planning import Planning


@dataclass(frozen=True, slots=True)
class Preview:
    """What `collapipe-ns3 plan` prints.

    `explanation` is the scheme's, empty if it gives none. `timeline` is None if the round has too
    many events, as with very slow links, or only waits. `warnings` are the scheme's about the
    study.
    """

    links: tuple[MeasuredLink, ...]
    plan: RoundPlan
    explanation: Mapping[str, Any]
    timeline: Timeline | None
    warnings: tuple[Problem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON; the timeline is reduced to the phases of each pipeline."""
        timeline = self.timeline
        return {
            "links": [dataclasses.asdict(link) for link in self.links],
            "plan": self.plan.to_json(),
            "explanation": dict(self.explanation),
            "predicted": {
                "round_s": timeline.total_ns / 1e9 if timeline else None,
                "pipelines": [
                    {"cluster": times.cluster}
                    | {f"{phase}_s": ns / 1e9 for phase, ns in times.phases_ns.items()}
                    | {"overlap_s": times.overlap_ns / 1e9}
                    for times in (timeline.pipelines if timeline else ())
                ],
            },
        }


def preview(run: Planning) -> Preview:
    """Previews the first round of a study.

    All links that a plan may use are sounded. Whatever the scheme, the timeline is what the event
    graph predicts from these measurements. Raises what `Planning.try_out` does.
    """
    plan, book = run.try_out(unmeasured(run.observation(), (), 0.0))
    explanation = run.scheme.explain(plan.round, None)
    return Preview(
        links=tuple(book.links.values()),
        plan=plan,
        explanation=explanation,
        timeline=predicted_timeline(plan, run.observation(book)),
        warnings=tuple(scheme_warnings(explanation)),
    )


def predicted_timeline(plan: RoundPlan, seen: Observation) -> Timeline | None:
    """The event graph's timeline of a plan of any scheme, from measured links only.

    None if it would have too many events, as with very slow links, or if the plan only waits.
    """
    if not plan.has_pipelines:
        return None
    used = {cluster.cluster for cluster in plan.clusters if cluster.pipelines}
    devices = tuple(names if n in used else () for n, names in enumerate(seen.devices))
    seen = replace(seen, devices=devices)
    single = [link for link in plan.links if len(link.receivers) == 1]
    granted = [link for link in single if link.bandwidth_hz is not None]
    edge_granted = any(SERVER in (link.src, link.dst) for link in granted)
    sidelink_granted = any(SERVER not in (link.src, link.dst) for link in granted)
    fleet = Fleet.of(seen, Knowledge())
    fleet = fleet.opened(sidelink=not sidelink_granted, edge=not edge_granted)
    work = workload(seen, Settings())
    radio = radio_of_plan(plan.links, seen.devices, fleet, start_radio(fleet, work))
    try:
        return predict_timeline(plan, seen.devices, fleet, work, radio, references=seen.references)
    except TooManyEvents:
        return None
