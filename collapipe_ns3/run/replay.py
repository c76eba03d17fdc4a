"""Replays one round of a run alone, with the same network, plan, transfers and computations.

When something is sent depends on sizes, never on the values of tensors. So the model may have its
initial values, and of earlier rounds only the sizes and places of optimizer states are restored,
and which nodes hold references and error memories of parameters.
Transfers and computations are therefore those of the run, bit for bit, while losses are not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bridge.compute import TorchThread
from collapipe_ns3.engine.late_work import LateWork
from collapipe_ns3.engine.parameters import Unsent, unit_parameters
from collapipe_ns3.engine.stage_worker import workers
from collapipe_ns3.exchange import PipelineId, singles
from collapipe_ns3.learning.aggregation import Parameters
from collapipe_ns3.node_state import NodeState
from collapipe_ns3.nodes import SERVER, Role, control_unit, role
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.paths import NOT_UTF8, is_utf8
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.problems import Problem, StudyError, of_run_directory
from collapipe_ns3.reading import study_file
from collapipe_ns3.reading.warnings import trace_warnings
from collapipe_ns3.run import code_identity
from collapipe_ns3.run.manifest import code_changes
from collapipe_ns3.run.planning import Pair
from collapipe_ns3.run.records import RoundRecord
from collapipe_ns3.run.runner import Run
from ns3_scenarios.handover import Attachment
from ns3_scenarios.traces import TraceFiles
from run_directory.tables import read_round, repeatable
from run_directory.whole import PLANS, STUDY, NotARun, NotWhole, WholeRun, examine

#: The tables that a replay fills with the same rows as the run.
_COMPARED = ("transfers", "computes", "devices", "nodes", "handovers")


@dataclass(frozen=True, slots=True)
class Replay:
    """The outcome of a replayed round.

    `different` names the tables whose rows differ from those recorded, and `other_code` says what
    has changed in the code since the run. `warnings` are about requested traces that are missing
    or incomplete.
    """

    plan: RoundPlan
    outcome: RoundOutcome
    different: tuple[str, ...]
    other_code: tuple[str, ...]
    warnings: tuple[Problem, ...] = ()


def replay(run_dir: Path, number: int, traces: TraceFiles | None = None) -> Replay:
    """Replays round `number` of a run.

    Raises `StudyError` where there is no such round, and where the directory holds no run or one
    whose files are damaged or missing.
    """
    for option, path in (("", run_dir), ("--pcap", traces and traces.folder)):
        if path and not is_utf8(path):
            raise StudyError(str(run_dir), [Problem(option, f"{path}: {NOT_UTF8}")])
    try:
        return _replay(examine(run_dir), number, traces)
    except (NotARun, NotWhole) as error:
        raise StudyError(str(run_dir), of_run_directory(error)) from None


def _replay(there: WholeRun, number: int, traces: TraceFiles | None) -> Replay:
    if not 0 <= number < there.rounds:
        rounds = f"there are rounds 0 to {there.rounds - 1}" if there.rounds else "it has none"
        raise StudyError(str(there.directory), [Problem("--round", f"no round {number}; {rounds}")])
    plans = _plans(there)
    recorded = {name: read_round(there, name, number) for name in ("rounds", *_COMPARED)}
    config = study_file.parse(str(there.directory / STUDY), there.study, folder=there.directory)
    run = Run(config, torch.device("cpu"))
    run.next_round = number
    run.steps_done = sum(
        run.local_steps(earlier) for earlier, _ in plans[:number] if earlier.has_pipelines
    )
    run.traces = traces
    run.now_ns = round(recorded["rounds"]["start_s"].iloc[0] * 1e9)
    for before, (earlier, _) in enumerate(plans[:number]):
        pipelines = read_round(there, "pipelines", before)
        _leave_states(run, earlier, pipelines, _holders(there, before))
        late = {each.id for each in _late(there, before + 1, {})}
        failed = _failed(pipelines) - late  # these have been sent, and will arrive
        _leave_kept(run, earlier, failed, pipelines, _ended(there, before, earlier))
        lasted = read_round(there, "rounds", before)
        begin_ns, end_ns = (round(lasted[key].iloc[0] * 1e9) for key in ("start_s", "end_s"))
        run.state.void(run.given_faults.away_within(begin_ns, end_ns) | _gone(there, before))
    if run.models and number:
        rows = read_round(there, "devices", number - 1).to_dict("records")
        states = {str(row["device"]): _node_state(row) for row in rows}
        run.begin_with({node: states[node] for node in run.models})
    run.state.late = _late(there, number, run.state.model.averaged())
    plan, sounded = plans[number]
    run.attach(_attachments(there, number))
    with TorchThread() as thread:
        episode = run.execute(lambda links, soundings: plan, sounded, thread)
    outcome = episode.outcome
    record = RoundRecord(plan, outcome, (), {}, run.now_ns, 0.0, run.seed, nodes=episode.nodes)
    record = dataclasses.replace(record, cells=episode.cells)
    warnings = trace_warnings(config, traces.kinds if traces else ())
    present = code_identity.of_study(config)
    return Replay(
        plan,
        outcome,
        tuple(_differences(record, recorded)),
        code_changes(there.manifest, [number], present),
        tuple(warnings),
    )


def _gone(there: WholeRun, number: int) -> frozenset[str]:
    """The nodes that were away in a round or at its end, base stations left out."""
    rows = read_round(there, "devices", number)
    if "away_s" not in rows:  # as earlier versions recorded it, without faults
        return frozenset()
    gone = rows.loc[(rows["away_s"] > 0) | rows["empty"].astype(bool), "device"]
    return frozenset(node for node in map(str, gone) if role(node) is not Role.BASE_STATION)


def _node_state(row: Mapping[Any, Any]) -> NodeState:
    """The heat and charge of a node as its row of the table `devices` has them."""
    return NodeState(
        temperature_c=float(row["temperature_c"]),
        throttled=bool(row["throttled"]),
        charge_j=float(row["charge_j"]),
        empty=bool(row["empty"]),
    )


def _attachments(there: WholeRun, number: int) -> dict[str, Attachment]:
    """The cells of control units at the start of a round; none without handover."""
    try:
        found = there.plans[number].get("attachments", {})
        return {unit: Attachment(**each) for unit, each in found.items()}
    except (TypeError, AttributeError):
        problem = (PLANS, "can't be read; another version may have written it")
        raise NotWhole(there.directory, [problem]) from None


def _late(there: WholeRun, number: int, model: Parameters) -> list[LateWork]:
    """What was on its way from earlier rounds at the start of a round.

    Its size is that of the run, but its values are those of a model.
    """
    tensors = {"parameters": model, "received": model, "variate": {}}
    try:
        return [LateWork.from_json(each, tensors) for each in there.plans[number].get("late", ())]
    except (KeyError, TypeError, ValueError, AttributeError):
        problem = (PLANS, "can't be read; another version may have written it")
        raise NotWhole(there.directory, [problem]) from None


def _plans(there: WholeRun) -> list[tuple[RoundPlan, list[Pair]]]:
    """The plan of each round, and the links that were sounded for it."""
    try:
        return [
            (RoundPlan.from_json(line), [(src, dst) for src, dst in line["sounded"]])
            for line in there.plans
        ]
    except (ValueError, KeyError, TypeError):
        problem = (PLANS, "can't be read; another version may have written it")
        raise NotWhole(there.directory, [problem]) from None


#: Who has the optimizer states of each unit, for the pipelines of which the plan doesn't say it.
_Holders = dict[PipelineId, dict[str, str]]


def _holders(there: WholeRun, number: int) -> _Holders:
    """Who had the optimizer states after a round, of pipelines that failed or lost a device."""
    try:
        return {
            PipelineId(*map(int, place.split("."))): dict(units)
            for place, units in there.plans[number].get("holders", {}).items()
        }
    except (ValueError, TypeError, AttributeError):
        problem = (PLANS, "can't be read; another version may have written it")
        raise NotWhole(there.directory, [problem]) from None


def _ended(there: WholeRun, number: int, plan: RoundPlan) -> RoundPlan:
    """The plan of a round with the pipelines with which it ended."""
    line = there.plans[number]
    if "ended" not in line:
        return plan
    try:
        return RoundPlan.from_json({**line, "clusters": line["ended"]})
    except (ValueError, KeyError, TypeError):
        problem = (PLANS, "can't be read; another version may have written it")
        raise NotWhole(there.directory, [problem]) from None


def _leave_states(run: Run, plan: RoundPlan, pipelines: pd.DataFrame, holders: _Holders) -> None:
    """Creates the optimizer states and control variates after a round, on the same nodes.

    Their sizes are those of the run, but not their values. `pipelines` are the rows of the round: a
    pipeline that failed has no new control variate. `holders` say who has the states of pipelines
    of which it doesn't follow from the plan; with control variates, plain SGD has no others.
    """
    absent, failed = {absence.device for absence in plan.absences}, _failed(pipelines)
    term = run.config.training.aggregation.term
    for cluster in plan.clusters:
        control = control_unit(cluster.cluster)
        for index, pipeline in enumerate(cluster.pipelines):
            replica = run.state.replica(cluster.cluster, index)
            for unit in replica.units.values():
                if unit.holder in absent:
                    unit.reset_optimizer()
            for worker in workers(replica, pipeline, run.state.costs, control, SERVER):
                for unit in worker.units:
                    unit.holder = worker.node
                    if not unit.optimizer.state:
                        for parameter in unit.module.parameters():
                            parameter.grad = torch.zeros_like(parameter)
                        unit.optimizer.step()
                        unit.optimizer.zero_grad()
            held = holders.get(PipelineId(cluster.cluster, index))
            if held is not None or PipelineId(cluster.cluster, index) not in failed:
                replica.begin(term, run.state.model.averaged(), {})
                replica.end((), 1.0)
            if held is not None:
                for name, unit in replica.units.items():
                    if name in held:
                        unit.holder = held[name]
                    else:
                        unit.reset_optimizer()


def _leave_kept(
    run: Run,
    plan: RoundPlan,
    failed: set[PipelineId],
    pipelines: pd.DataFrame,
    ended: RoundPlan,
) -> None:
    """Leaves nodes with the references and error memories that they hold after such a round.

    Their sizes are those of the run, but not their values. `pipelines` are the rows of the round,
    and `ended` has the pipelines with which it ended.
    """
    kept = run.state.kept
    routing = plan.routing(kept.references)
    if routing.exact and not (kept.references.all or kept.unsent):
        return
    nodes = {
        (PipelineId(cluster.cluster, index), unit): node
        for cluster in ended.clusters
        for index, pipeline in enumerate(cluster.pipelines)
        for node, units in pipeline.units(control_unit(cluster.cluster), SERVER).items()
        for unit in singles(units)
    }
    model, names = run.state.model.averaged(), unit_parameters(run.state.model)
    kept.forget(routing, failed)
    for way in routing.ways():
        if way.pipeline not in failed and way.up.largest is not None:
            left = {name: torch.zeros_like(model[name]) for name in names[way.unit]}
            kept.unsent[way.pipeline, way.unit] = Unsent(nodes[way.pipeline, way.unit], left)
    kept.references = routing.after(plan.round, failed | _placed_anew(pipelines))
    kept.parameters = {
        (each.unit, each.format): {name: model[name].clone() for name in names[each.unit]}
        for each in kept.references.all
    }


def _failed(pipelines: pd.DataFrame) -> set[PipelineId]:
    """The pipelines that were not averaged; none is known where the table is missing."""
    if pipelines.empty:
        return set()
    return _ids(pipelines[pipelines["fate"] != "averaged"])


def _placed_anew(pipelines: pd.DataFrame) -> set[PipelineId]:
    """The pipelines that have lost a device."""
    if "lost" not in pipelines:
        return set()
    return _ids(pipelines[pipelines["lost"] != ""])


def _ids(pipelines: pd.DataFrame) -> set[PipelineId]:
    places = pipelines[["cluster", "pipeline"]].itertuples(index=False)
    return {PipelineId(*place) for place in places}


def _differences(record: RoundRecord, recorded: Mapping[str, pd.DataFrame]) -> list[str]:
    """The tables whose rows differ from those recorded, apart from wall-clock columns.

    Tables and columns that the version did not have that recorded the round are not compared.
    """
    different = []
    for table in _COMPARED:
        was = recorded[table]
        if was.columns.empty:
            continue
        now = pd.DataFrame(record.tables()[table], columns=was.columns).astype(was.dtypes)
        columns = [name for name in repeatable(was).columns if name != "energy_queue"]
        if not was[columns].equals(now[columns]):
            different.append(table)
    return different
