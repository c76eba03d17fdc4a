"""How plans that were tried did, against what would be expected of them by what is known now.

A model's errors are a plan's own: of the order of its devices, of how often its links wait for
each other. So for every cluster's pipeline that was executed the ratio is kept of its training's
measured time to the event graph's with all that was learned in that round. A plan that was not
tried is expected to err as those do that were, and a little more: it has to be better than the plan
in use by more than the model is unsure of, and a plan that disappointed is not taken up again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from collapipe_ns3.eventgraph.timeline import Timeline
from collapipe_ns3.outcome import Computation, Phase
from collapipe_ns3.plan import Pipeline, RoundPlan

#: By how much a plan that was not tried may disappoint.
_DOUBT = 1.04

#: A ratio is taken to be no more than this, either way: what is beyond was something else.
_MOST = 2.0


def pipeline_key(cluster: int, pipeline: Pipeline) -> str:
    """What a cluster's plan is remembered by."""
    return f"cluster {cluster}: {pipeline}"


def expected_ratio(tried: Mapping[str, float], cluster: int, pipeline: Pipeline) -> float:
    """Measured over predicted training time, as is to be expected of a plan."""
    if (known := tried.get(pipeline_key(cluster, pipeline))) is not None:
        return known
    return float(np.median(list(tried.values()))) if tried else 1.0


def cautious_ratio(tried: Mapping[str, float], cluster: int, pipeline: Pipeline) -> float:
    """The ratio that a plan is judged by: above what is expected where it was not tried."""
    known = not tried or pipeline_key(cluster, pipeline) in tried
    return expected_ratio(tried, cluster, pipeline) * (1.0 if known else _DOUBT)


def updated_ratios(
    tried: Mapping[str, float],
    plan: RoundPlan,
    expected: Timeline,
    measured_s: Mapping[int, float],
    weight: float,
) -> dict[str, float]:
    """With a round's plan, which counts with `weight`; `expected` is by what it has taught."""
    found = dict(tried)
    pipelines = {c.cluster: c.pipelines[0] for c in plan.clusters if c.pipelines}
    for times in expected.pipelines:
        if times.cluster not in measured_s:
            continue
        known = pipeline_key(times.cluster, pipelines[times.cluster])
        new = measured_s[times.cluster] / (times.phases_ns[Phase.PIPELINE] / 1e9)
        new = min(max(new, 1 / _MOST), _MOST)
        found[known] = weight * new + (1 - weight) * found.get(known, new)
    return found


def measured_training_s(
    computations: Iterable[Computation], clusters: Mapping[str, int]
) -> dict[int, float]:
    """From each cluster's first computation to its last; `clusters` has every node's."""
    begun: dict[int, int] = {}
    ended: dict[int, int] = {}
    for done in computations:
        if (cluster := clusters.get(done.node)) is not None:
            begun[cluster] = min(begun.get(cluster, done.start_ns), done.start_ns)
            ended[cluster] = max(ended.get(cluster, done.end_ns), done.end_ns)
    return {n: (ended[n] - begun[n]) / 1e9 for n in begun if ended[n] > begun[n]}
