"""How much longer pipelines train than predicted, learned from executed rounds.

The predictor's error differs from plan to plan: it depends on the order of the devices and on how
often links wait for each other. So for every pipeline that was executed, the ratio of its measured
training time to the event graph's is kept, where the event graph has all that was learned by then.
A pipeline that was never executed is expected to have the median of these ratios, and is judged by
a little more. So it must be better than the plan in use by more than the uncertainty of the
prediction, and a plan that took longer than predicted is not chosen again on the same prediction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from collapipe_ns3.outcome import Computation
from collapipe_ns3.plan import Pipeline, RoundPlan

#: What a pipeline that was never executed may take in addition.
_DOUBT = 1.04

#: A ratio is kept within this and its inverse: what is further off has causes of its own.
_MOST = 2.0


def pipeline_key(cluster: int, pipeline: Pipeline) -> str:
    """The key of a cluster's pipeline among the ratios."""
    return f"cluster {cluster}: {pipeline}"


def expected_ratio(ratios: Mapping[str, float], cluster: int, pipeline: Pipeline) -> float:
    """The ratio of measured to predicted training time to expect of a pipeline."""
    if (known := ratios.get(pipeline_key(cluster, pipeline))) is not None:
        return known
    return float(np.median(list(ratios.values()))) if ratios else 1.0


def cautious_ratio(ratios: Mapping[str, float], cluster: int, pipeline: Pipeline) -> float:
    """The ratio that a pipeline is judged by: above the expected one if it was never executed."""
    known = not ratios or pipeline_key(cluster, pipeline) in ratios
    return expected_ratio(ratios, cluster, pipeline) * (1.0 if known else _DOUBT)


def updated_ratios(
    ratios: Mapping[str, float],
    plan: RoundPlan,
    predicted_s: Mapping[int, float],
    measured_s: Mapping[int, float],
    weight: float,
) -> dict[str, float]:
    """The ratios after a round, which counts with `weight` in (0, 1].

    Training times are by cluster; `predicted_s` are those of the round's plan with all that the
    round has shown.
    """
    found = dict(ratios)
    pipelines = {c.cluster: c.pipelines[0] for c in plan.clusters if c.pipelines}
    for cluster, seconds in predicted_s.items():
        if cluster not in measured_s:
            continue
        key = pipeline_key(cluster, pipelines[cluster])
        new = measured_s[cluster] / seconds
        new = min(max(new, 1 / _MOST), _MOST)
        found[key] = weight * new + (1 - weight) * found.get(key, new)
    return found


def measured_training_s(
    computations: Iterable[Computation], clusters: Mapping[str, int]
) -> dict[int, float]:
    """The time from each cluster's first computation to its last, in seconds.

    `clusters` are the clusters of all nodes.
    """
    begun: dict[int, int] = {}
    ended: dict[int, int] = {}
    for done in computations:
        if (cluster := clusters.get(done.node)) is not None:
            begun[cluster] = min(begun.get(cluster, done.start_ns), done.start_ns)
            ended[cluster] = max(ended.get(cluster, done.end_ns), done.end_ns)
    return {n: (ended[n] - begun[n]) / 1e9 for n in begun if ended[n] > begun[n]}
