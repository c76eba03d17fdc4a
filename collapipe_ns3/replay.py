"""One round of a run again, alone: the same network, the same plan, the same transfers.

When a round sends what depends on sizes, never on values, so the model may be as it was before the
first round; what earlier rounds leave that has a size are the optimizers' states, and where they
are. Losses are therefore not those of the run; transfers and computations are, to the bit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from bridge.compute import TorchThread
from collapipe_ns3 import reading
from collapipe_ns3.engine.outcome import RoundOutcome
from collapipe_ns3.engine.site import CostBook
from collapipe_ns3.engine.stage import workers
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.planning import Pair
from collapipe_ns3.problems import Problem, StudyError
from collapipe_ns3.records import RoundRecord
from collapipe_ns3.runner import Run
from ns3_scenarios.traces import TraceFiles


@dataclass(frozen=True, slots=True)
class Replay:
    """A round as it went again, and in which tables it differs from what was recorded."""

    plan: RoundPlan
    outcome: RoundOutcome
    different: tuple[str, ...]


def replay(run_dir: Path, number: int, traces: TraceFiles | None = None) -> Replay:
    """Runs round `number` of a run again; raises `StudyError` where there is none."""
    plans = _plans(run_dir)
    started_s = dict(pd.read_parquet(run_dir / "rounds")[["round", "start_s"]].to_numpy())
    if number not in started_s:
        there = f"there are rounds 0 to {len(started_s) - 1}"
        raise StudyError(str(run_dir), [Problem("--round", f"no round {number}; {there}")])
    run = Run(reading.read(str(run_dir / "study.yaml")), torch.device("cpu"))
    run.next_round = number
    run.traces = traces
    run.now_ns = round(started_s[number] * 1e9)
    for earlier, _ in plans[:number]:
        _leave_states(run, earlier)
    plan, sounded = plans[number]
    with TorchThread() as thread:
        outcome = run.execute(lambda links: plan, sounded, thread, CostBook()).outcome
    record = RoundRecord(plan, outcome, (), {}, run.now_ns, 0.0, run.seed)
    return Replay(plan, outcome, tuple(_differences(record, run_dir, number)))


def _plans(run_dir: Path) -> list[tuple[RoundPlan, list[Pair]]]:
    """Every round's plan, and the links that were sounded before it was made."""
    try:
        text = (run_dir / "plans.jsonl").read_text("utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        return [
            (RoundPlan.from_json(line), [(src, dst) for src, dst in line["sounded"]])
            for line in lines
        ]
    except OSError as error:
        raise StudyError(str(run_dir), [Problem("", f"no run: {error.strerror}")]) from None
    except (ValueError, KeyError, TypeError):
        problem = Problem("plans.jsonl", "can't be read; another version may have written it")
        raise StudyError(str(run_dir), [problem]) from None


def _leave_states(run: Run, plan: RoundPlan) -> None:
    """Leaves the optimizer states that a round of this plan leaves, where it leaves them."""
    for cluster in plan.clusters:
        for index, pipeline in enumerate(cluster.pipelines):
            replica = run.state.replica(cluster.cluster, index)
            for worker in workers(replica, pipeline, control_unit(cluster.cluster), SERVER):
                for unit in worker.units:
                    unit.holder = worker.node
                    if not unit.optimizer.state:
                        for parameter in unit.module.parameters():
                            parameter.grad = torch.zeros_like(parameter)
                        unit.optimizer.step()
                        unit.optimizer.zero_grad()


def _differences(record: RoundRecord, run_dir: Path, number: int) -> list[str]:
    """The tables whose rows are not those recorded, wall-clock columns aside."""
    different = []
    for table in ("transfers", "computes", "devices"):
        was = pd.read_parquet(run_dir / table / f"{number:05}.parquet")
        now = pd.DataFrame(record.tables()[table], columns=was.columns).astype(was.dtypes)
        columns = [name for name in was.columns if "wall" not in name and name != "energy_queue"]
        if not was[columns].equals(now[columns]):
            different.append(table)
    return different
