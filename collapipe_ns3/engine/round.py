"""Executes a plan as one federated round: pipelines side by side, then the aggregation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from bridge.loop import TaskGroup, simulated_loop
from collapipe_ns3.engine.deadline import late_pipelines
from collapipe_ns3.engine.exchange_run import ExchangeRun
from collapipe_ns3.engine.late_run import LateRun
from collapipe_ns3.engine.late_work import LateWork, copied
from collapipe_ns3.engine.parameters import ParameterExchange
from collapipe_ns3.engine.pipeline_run import PipelineRun, Training
from collapipe_ns3.engine.recovery import NO_RECOVERY, PipelineRecovery
from collapipe_ns3.engine.site import Site
from collapipe_ns3.engine.stage_worker import workers
from collapipe_ns3.engine.state import TrainingState, load
from collapipe_ns3.engine.usage import RoundStart, device_uses
from collapipe_ns3.exchange import PipelineId
from collapipe_ns3.fallback import is_replaceable
from collapipe_ns3.learning.aggregation import (
    VARIATE,
    Before,
    PipelineFailure,
    PipelineResult,
)
from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.nodes import SERVER, Role, cluster_of, control_unit, role
from collapipe_ns3.observed import measured_links
from collapipe_ns3.outcome import PipelineDistortion, PipelineFate, RoundOutcome, WorkItem
from collapipe_ns3.phases import Phase, durations_ns
from collapipe_ns3.plan import ClusterPlan, RoundPlan
from collapipe_ns3.schedule import schedule_of


async def run_round(
    site: Site,
    state: TrainingState,
    plan: RoundPlan,
    training: Training,
    start: RoundStart | None = None,
) -> RoundOutcome:
    """Executes a validated plan on the site's network; the state then holds the new model.

    `start` has the counters at the beginning of the round; give it where the round began before
    this call, as with soundings.

    If a device leaves that a pipeline needs, the pipeline goes on without it as the plan's recovery
    says. If a transfer of a pipeline fails for good, or if a node leaves that nothing can replace,
    the pipeline is abandoned: what it trained in this round is dropped, the aggregator is given its
    failure, and the outcome states the reason. The cluster's other pipelines continue. Pipelines
    that are late at the round's deadline end in the same way, unless the plan's terms keep what
    they have trained: then what is missing of it is sent in the next rounds (`state.late`). What
    nodes held that were away at any time of the round is void. Every schedule is validated before
    anything is sent; raises `ScheduleError`.
    """
    if busy := state.late_ages().keys() & {c.cluster for c in plan.clusters if c.pipelines}:
        clusters = ", ".join(map(str, sorted(busy)))
        raise ValueError(f"the work of an earlier round is still on its way: cluster {clusters}")
    start = start or RoundStart.now(site)
    if site.presence:
        state.void(site.presence.away_since(start.start_ns))
    planned_ns = simulated_loop().now_ns()
    site.apply(plan)
    global_model = {name: tensor.clone() for name, tensor in state.model.averaged().items()}
    parameters = ParameterExchange(
        state.kept,
        state.model,
        plan.routing(state.kept.references),
        state.costs.units_bytes,
        global_model,
        training.seed,
        plan.round,
    )
    runs = _pipeline_runs(site, state, plan, training, parameters)
    earlier = [LateRun(work) for work in state.late]
    loaded = site.thread.now(lambda: {run.id: parameters.loaded(run.id) for run in runs})
    moves = {run.id: run.state_moves() for run in runs}
    legs = plan.legs(parameters.sizes, moves)
    async with site.presence.switching(site.network), TaskGroup() as group:
        exchange = ExchangeRun(site, legs, group)
        tasks = {}
        for run in runs:
            server_variate = state.server.get(VARIATE, {})
            run.replica.begin(training.term, loaded[run.id], server_variate)
            run.recovery.start(run.workers)
            running = run.run(site, training, exchange)
            tasks[run.id] = group.create_task(running, name=f"cluster {run.cluster}")
        coming = {
            each.work.id: group.create_task(each.run(site, group), name=f"late {each.work.id}")
            for each in earlier
        }
        if plan.terms.deadline is not None or coming:
            late = await late_pipelines(tasks or coming, plan.terms.deadline, planned_ns)
            for run in runs:
                if run.id in late:
                    run.stop(tasks[run.id])
            for task in coming.values():
                task.cancel()
    all_in_ns = simulated_loop().now_ns()
    last = _last_to_end(runs, all_in_ns)
    weights = await _aggregate(site, state, runs, training, parameters, earlier)
    gone = site.presence.away_since(start.start_ns) if site.presence else frozenset()
    state.late = [
        each
        for each in _still_late(site, plan, training, parameters, runs, earlier)
        if not any(left.src in gone for left in each.rest)
    ]
    kept = {each.id for each in state.late}
    parameters.end({run.id for run in runs if run.failure is not None and run.id not in kept})
    state.void(gone)
    site.settle()
    trained = [run for run in runs if run.failure is None]
    losses = [(run.weight, run.loss) for run in trained]
    losses += [(each.work.result.weight, each.work.loss) for each in earlier if each.has_arrived]
    data = math.fsum(weight for weight, _ in losses)
    loss = math.fsum(weight * loss for weight, loss in losses)
    return RoundOutcome(
        round=plan.round,
        start_ns=start.start_ns,
        phases_ns=durations_ns(
            start.start_ns,
            {
                Phase.SOUNDING: planned_ns,
                **_ends_ns(last, planned_ns, all_in_ns),
                Phase.AGGREGATE: simulated_loop().now_ns(),
            },
        ),
        computation_ns=max((run.computation_ns for run in trained), default=0),
        overlap_ns=0 if last is None else last.overlap_ns,
        loss=loss / data if losses else math.nan,
        computations=site.computations[start.computations :],
        deliveries=site.network.deliveries[start.deliveries :],
        links=measured_links(site.network),
        devices=device_uses(
            site,
            [[*run.earlier_workers, run.workers] for run in runs],
            start,
            sum((run.recovery.peak_bytes for run in runs), Counter(parameters.kept_bytes())),
        ),
        pipelines=(
            *(_fate(run, weights) for run in runs),
            *(_late_fate(each, weights, kept) for each in earlier),
        ),
        gradients=tuple(norms for run in trained for norms in run.gradients),
        distortions=tuple(_distortion(run, weights) for run in trained),
        sat_out=_sat_out(plan),
        encodings=tuple(parameters.encodings),
        holders=_holders(runs) if site.presence or plan.terms.deadline else {},
    )


def _pipeline_runs(
    site: Site,
    state: TrainingState,
    plan: RoundPlan,
    training: Training,
    parameters: ParameterExchange,
) -> list[PipelineRun]:
    """One for every pipeline of the plan; optimizer states on absent devices are cleared.

    So are all that the aggregation has begin anew in every round.
    """
    runs = []
    absent = {absence.device for absence in plan.absences}
    for cluster in plan.clusters:
        spare = _spare(site, plan, cluster)
        for index, pipeline in enumerate(cluster.pipelines):
            replica = state.replica(cluster.cluster, index)
            for unit in replica.units.values():
                if training.term.fresh_optimizer or unit.holder in absent:  # which can't send it
                    unit.reset_optimizer()
            line = workers(replica, pipeline, state.costs, control_unit(cluster.cluster), SERVER)
            weight = training.shares[cluster.cluster] * pipeline.share
            draw = partial(_own_part, training, cluster, plan.round, index)
            steps = schedule_of(pipeline, state.costs.local_head is not None)
            place = (plan.round, cluster.cluster, index)
            whose = PipelineId(cluster.cluster, index)
            recovery = PipelineRecovery(
                plan.terms.recovery if is_replaceable(pipeline) else NO_RECOVERY,
                whose,
                replica,
                state.costs,
                plan.effective_exchange(),
                parameters,
                training.hosts(whose),
                spare,
                simulated_loop().now_ns(),
            )
            run = PipelineRun(*place, pipeline, replica, line, steps, weight, draw, recovery)
            runs.append(run)
    return runs


def _spare(site: Site, plan: RoundPlan, cluster: ClusterPlan) -> list[str]:
    """The devices of a cluster that the plan could use, and doesn't."""
    used = {absence.device for absence in plan.absences}
    for pipeline in cluster.pipelines:
        used.update(pipeline.nodes("", "", False))
    own = (node for node in site.profiles if cluster_of(node) == cluster.cluster)
    return sorted(node for node in own if role(node) is Role.DEVICE and node not in used)


def _own_part(training: Training, cluster: ClusterPlan, round: int, index: int) -> Iterator[Batch]:
    """A pipeline's part of each of its cluster's batches; the parts of all make up the batch."""
    for batch in training.batches(cluster.cluster, round):
        sizes = cluster.sequences(batch.sequences)
        first = sum(sizes[:index])
        yield batch.part(first, first + sizes[index])


#: By (cluster, pipeline), each result's weight in the new global model.
_Weights = Mapping[tuple[int, int], float]


async def _aggregate(
    site: Site,
    state: TrainingState,
    runs: Sequence[PipelineRun],
    training: Training,
    parameters: ParameterExchange,
    earlier: Sequence[LateRun],
) -> _Weights:
    """Replaces the global model by the new one, unless nothing has arrived.

    The results of this round come first, then those of earlier ones.
    """
    results, failures = [], []
    for run in runs:
        place = (run.cluster, run.index, run.weight)
        if run.failure is None:
            results.append(site.thread.now(partial(_result, run, training, parameters)))
        else:
            failures.append(PipelineFailure(*place, run.failure))
    results += [each.work.result for each in earlier if each.has_arrived]
    if not results:
        return {}
    aggregator = training.aggregator
    flops = aggregator.flops.of(len(results), state.costs.parameters)
    trained = tuple(name for name, each in state.model.named_parameters() if each.requires_grad)
    before = Before(parameters.global_model, trained, state.server)
    averaged = partial(aggregator.aggregate, before, results, failures)
    done = await site.compute(SERVER, WorkItem(), "aggregate", flops, averaged)
    aggregate = done.result
    load(state.model, aggregate.parameters)
    state.server = aggregate.state
    places = [(result.cluster, result.pipeline) for result in results]
    return dict(zip(places, aggregate.weights, strict=True))


def _still_late(
    site: Site,
    plan: RoundPlan,
    training: Training,
    parameters: ParameterExchange,
    runs: Sequence[PipelineRun],
    earlier: Sequence[LateRun],
) -> list[LateWork]:
    """What is on its way into the next rounds: of this round, and of earlier ones."""
    left = [each for each in earlier if not (each.has_arrived or each.failure)]
    found = [each.work.older(each.rest) for each in left]
    deadline = plan.terms.deadline
    for run in runs:
        if deadline is None or deadline.late == "drop" or deadline.most_age < 1:
            continue
        if run.rest is None:
            continue
        result = site.thread.now(partial(_result, run, training, parameters))
        own = LateWork(run.pipeline, copied(result), run.rest, tuple(run.losses), deadline.most_age)
        found.append(own.older(own.rest))
    return [each for each in found if each is not None]


def _result(run: PipelineRun, training: Training, parameters: ParameterExchange) -> PipelineResult:
    """What the base station has of a pipeline that completed; called in the torch thread."""
    run.replica.end(training.rates, training.updates.head_factor)
    return PipelineResult(
        run.cluster,
        run.index,
        run.weight,
        parameters.returned(run.id, run.replica.model.averaged()),
        received=parameters.loaded(run.id),
        rates=training.rates,
        variate=run.replica.variate,
    )


def _fate(run: PipelineRun, weights: _Weights) -> PipelineFate:
    place = (run.cluster, run.index, run.pipeline)
    if run.failure is not None:
        return PipelineFate(
            *place,
            "late" if run.is_late else "failed",
            0.0,
            math.nan,
            run.end_ns,
            run.failure,
            lost=tuple(run.lost),
            repeated_steps=run.repeated_steps,
        )
    weight = weights[run.cluster, run.index]
    return PipelineFate(
        *place,
        "averaged",
        weight,
        run.loss,
        run.end_ns,
        step_losses=tuple(run.losses),
        lost=tuple(run.lost),
        repeated_steps=run.repeated_steps,
    )


def _holders(runs: Sequence[PipelineRun]) -> dict[tuple[int, int], dict[str, str]]:
    """Who has the optimizer states after a round, where it doesn't follow from the plan."""
    return {
        (run.cluster, run.index): {
            name: unit.holder
            for name, unit in run.replica.units.items()
            if unit.holder is not None and unit.optimizer_bytes()
        }
        for run in runs
        if run.failure is not None or run.lost
    }


def _late_fate(late: LateRun, weights: _Weights, kept: Collection[PipelineId]) -> PipelineFate:
    """What became in a round of the late work of an earlier one."""
    work = late.work
    place = (work.id.cluster, work.id.index, work.pipeline)
    age, end_ns = work.result.age, late.end_ns
    if late.has_arrived:
        weight = weights[work.id.cluster, work.id.index]
        return PipelineFate(
            *place, "averaged", weight, work.loss, end_ns, step_losses=work.losses, age=age
        )
    if late.failure:
        return PipelineFate(*place, "failed", 0.0, math.nan, end_ns, late.failure, age=age)
    if work.id in kept:
        reason = f"has not arrived {_rounds(age)} after its own"
        return PipelineFate(*place, "late", 0.0, math.nan, end_ns, reason, age=age)
    reason = f"dropped, as it has not arrived {_rounds(age)} after its own"
    return PipelineFate(*place, "failed", 0.0, math.nan, end_ns, reason, age=age)


def _rounds(count: int) -> str:
    return f"{count} round{'s' * (count > 1)}"


def _sat_out(plan: RoundPlan) -> dict[int, str]:
    """Each cluster without pipelines, and why its devices are absent."""
    return {
        cluster.cluster: "; ".join(
            str(absence) for absence in plan.absences if absence.cluster == cluster.cluster
        )
        for cluster in plan.clusters
        if not cluster.pipelines
    }


def _distortion(run: PipelineRun, weights: _Weights) -> PipelineDistortion:
    sequences = run.pipeline.micro_batches * run.gradients[0].sequences
    distortion = math.fsum(run.distortions) / len(run.distortions)
    weight = weights[run.cluster, run.index]
    micro_batches = run.pipeline.micro_batches
    return PipelineDistortion(run.cluster, weight, sequences, micro_batches, distortion)


def _last_to_end(runs: Sequence[PipelineRun], all_in_ns: int) -> PipelineRun | None:
    """The pipeline that ended last; None if that one failed or was late."""
    completed = [run for run in runs if run.failure is None]
    last = max(completed, key=lambda run: run.ends_ns[Phase.UPLOAD], default=None)
    return None if last is None or last.ends_ns[Phase.UPLOAD] != all_in_ns else last


def _ends_ns(last: PipelineRun | None, start_ns: int, all_in_ns: int) -> dict[Phase, int]:
    """When each phase of the last pipeline ended.

    If that one failed or was late, the time that it took counts as its pipeline phase, since
    nothing else is known of it.
    """
    if last is None:
        failed = dict.fromkeys((Phase.PIPELINE, Phase.GATHER, Phase.UPLOAD), all_in_ns)
        return {Phase.BROADCAST: start_ns, **failed}
    return last.ends_ns
