"""Compares runs of one study: means, confidence intervals, paired differences.

Runs with the same seed share data order, initial weights and channel, so schemes are compared seed
by seed (common random numbers). Intervals are Student's t over seeds at 95 %; with one seed there
is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from analysis.load import Runs, load_all
from analysis.multicasts import once
from analysis.places import CELLS
from run_directory.roles import Role, role

CONFIDENCE = 0.95

#: The scheme that others are compared with unless another is given, if it is among them.
REFERENCE = "collapipe"

#: The scheme whose memory and energy are budgets of the reference unless another is given.
BUDGETS_OF = "titanic"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a run: its label, the unit that it is printed in, and which direction is better.

    The printed value is the stored value (in SI units) times `scale`.
    """

    label: str
    unit: str
    scale: float
    smaller_is_better: bool


METRICS: Mapping[str, Metric] = {
    "round_s": Metric("end-to-end delay", "s", 1.0, True),
    "computation_s": Metric("computation delay", "s", 1.0, True),
    "time_to_loss_s": Metric("time to target loss", "s", 1.0, True),
    "time_to_metric_s": Metric("time to target metric", "s", 1.0, True),
    "metric_at_time": Metric("metric at equal time", "", 1.0, False),
    "final_metric": Metric("final metric", "", 1.0, False),
    "final_loss": Metric("final loss", "", 1.0, True),
    "peak_device_memory_bytes": Metric("device memory", "MiB", 2.0**-20, True),
    "device_energy_j": Metric("device energy", "J", 1.0, True),
    "energy_j": Metric("energy of all nodes", "J", 1.0, True),
    "bytes_on_air": Metric("payload on air", "MB", 1e-6, True),
    "fairness": Metric("fairness", "", 1.0, False),
}
"""Delays, energy and payload are means over rounds; `docs/results.md` defines each metric.

Labels, unit and direction of the learning task's main metric are those of `metrics_of`.
"""

#: The metrics whose values are those of the task's main metric.
_OF_TASK = ("metric_at_time", "final_metric")


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """A run within a comparison: its point of the grid, and its tables.

    `point` has the grid's settings as text. `stale` describes the changes of the code since the run
    was made; it is empty where there are none.
    """

    point: str
    run: Runs
    stale: str = ""


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison, as tables.

    `runs` has a row for each run, `summary` for each (point, metric, scheme), and `energy` for each
    (point, scheme, device). `metrics` describes the metrics, and `notes` has remarks for readers,
    such as why there is no time to a loss.
    """

    reference: str
    runs: pd.DataFrame
    summary: pd.DataFrame
    energy: pd.DataFrame
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskMetric:
    """The main metric of a run's task, as its manifest has it."""

    name: str
    unit: str
    higher_is_better: bool

    @classmethod
    def of(cls, run: Runs) -> TaskMetric:
        """Of a run by an earlier version, which did not record it, higher values are better."""
        recorded = run.manifest.get("task", {}).get("metric")
        return cls(**recorded) if recorded else cls("metric", "", True)

    def best(self, run: Runs) -> float:
        """The best value of the main metric after any round."""
        values = run.rounds["metric"]
        return float(values.max() if self.higher_is_better else values.min())

    def reached(self, run: Runs, target: float) -> pd.Series:
        """Whether the metric after each round is the target or better."""
        values = run.rounds["metric"]
        return values >= target if self.higher_is_better else values <= target

    def common_target(self, runs: Sequence[Runs]) -> float:
        """The best value that all runs reached; nan where no run has a value."""
        best = [value for run in runs if not math.isnan(value := self.best(run))]
        worst = min if self.higher_is_better else max
        return worst(best, default=math.nan)


def metrics_of(metric: TaskMetric) -> dict[str, Metric]:
    """The metrics of a comparison of runs of a task with this main metric."""
    direction = "" if metric.higher_is_better else " (lower is better)"
    labels = {
        "time_to_metric_s": f"time to target {metric.name}",
        "metric_at_time": f"{metric.name} at equal time{direction}",
        "final_metric": f"final {metric.name}{direction}",
    }
    found = {key: replace(each, label=labels.get(key, each.label)) for key, each in METRICS.items()}
    for key in _OF_TASK:
        found[key] = replace(
            found[key], unit=metric.unit, smaller_is_better=not metric.higher_is_better
        )
    return found


def load_campaign(
    directory: str | Path, names: Mapping[str, str], stale: Mapping[str, str] | None = None
) -> list[ComparedRun]:
    """The finished runs of a campaign; `names` maps directories under `cells` to grid points.

    `stale` maps the directories of stale runs to the changes of the code since they were made.
    Raises `NotARun` and `NotWhole` where any can't be loaded.
    """
    folder, changed = Path(directory) / CELLS, stale or {}
    runs = load_all(folder / name for name in names)
    return [
        ComparedRun(point, run, changed.get(name, ""))
        for run, (name, point) in zip(runs, names.items(), strict=True)
    ]


def compare(
    compared: Sequence[ComparedRun], reference: str | None = None, target_loss: float | None = None
) -> Comparison:
    """Compares schemes at each grid point, paired by seed with the reference scheme.

    The default reference is `collapipe` where it is among the schemes, else the first scheme. The
    default target loss is one that all runs reached: the largest of the runs' smallest losses. The
    target of the main metric is chosen likewise. Raises `ValueError` for no runs, or an unknown
    reference.
    """
    if not compared:
        raise ValueError("there is no finished run to compare")
    schemes = list(dict.fromkeys(scheme_of(each.run) for each in compared))
    reference = reference or default_reference(schemes)
    if reference not in schemes:
        raise ValueError(f"no run of {reference}; there are {', '.join(schemes)}")
    rows = []
    metric = TaskMetric.of(compared[0].run)
    for point in dict.fromkeys(each.point for each in compared):
        at_point = [each for each in compared if each.point == point]
        runs = [each.run for each in at_point]
        target = target_loss if target_loss is not None else _common_loss(runs)
        target_metric = metric.common_target(runs)
        # A scheme that sends nothing ends so early that the others would have no round by then.
        timed = [run for run in runs if len(run.transfers)] or runs
        until_s = min(float(ends(run).iloc[-1]) for run in timed)
        rows += [
            {"point": point, "scheme": scheme_of(each.run), "seed": seed_of(each.run)}
            | metrics(each.run, target, target_metric, until_s)
            | {"stale": each.stale}
            for each in at_point
        ]
    frame = pd.DataFrame(rows)
    return Comparison(
        reference,
        frame,
        _summary(frame, schemes, reference),
        _energy(compared),
        metrics_of(metric),
        tuple(_notes(compared)),
    )


def default_reference(schemes: Sequence[str]) -> str:
    """The scheme that the others are compared with where none is given."""
    return REFERENCE if REFERENCE in schemes else schemes[0]


def _notes(compared: Sequence[ComparedRun]) -> Iterator[str]:
    """Why values are missing in a comparison."""
    tasks = [each.run.manifest["task"]["name"] for each in compared if not has_loss(each.run)]
    for name in dict.fromkeys(tasks):
        yield f"there is no time to a target loss: the task {name} has no loss on its test set"


def metrics(
    run: Runs, target_loss: float, target_metric: float, until_s: float
) -> dict[str, float]:
    """The metrics of one run, and the mean number of devices that sat out of a round.

    `metric_at_time` is the task's metric after the last round that ended by `until_s`.
    """
    rounds, count = run.rounds, len(run.rounds)
    reached = losses(run) <= target_loss
    reached_metric = TaskMetric.of(run).reached(run, target_metric)
    in_time = ends(run) <= until_s + 1e-9
    devices = run.devices[~run.devices["device"].astype(str).isin(_stations(run))]
    return {
        "round_s": float(rounds["duration_s"].mean()),
        "computation_s": float(rounds["computation_s"].mean()),
        "time_to_loss_s": float(ends(run)[reached].min()) if reached.any() else math.nan,
        "time_to_metric_s": (
            float(ends(run)[reached_metric].min()) if reached_metric.any() else math.nan
        ),
        "metric_at_time": float(rounds["metric"][in_time].iloc[-1]) if in_time.any() else math.nan,
        "final_metric": float(rounds["metric"].iloc[-1]),
        "final_loss": float(rounds["loss"].iloc[-1]),
        "peak_device_memory_bytes": float(devices["peak_memory_bytes"].max()),
        "device_energy_j": float(_energy_of(devices).sum()) / count,
        "energy_j": float(_energy_of(run.devices).sum()) / count,
        "bytes_on_air": float(once(run.transfers)["bytes"].sum()) / count,
        "fairness": fairness(run),
        "devices_sitting_out": float((run.devices["sits_out"] != "").sum()) / count,
    }


def fairness(run: Runs) -> float:
    """Jain's index (Jain et al. 1984) of the times that the clusters take to finish a round.

    (Σ t_n)² / (N·Σ t_n²) over the N clusters, averaged over rounds: 1 where all take the same time,
    1/N where one takes all of it. A cluster finishes with its last transfer or computation.
    """
    cluster_of = run.devices.groupby(run.devices["device"].astype(str))["cluster"].first()
    ends_of = [run.transfers[end].astype(str).map(cluster_of) for end in ("src", "dst")]
    # The base station is in cluster -1, so a transfer with it counts for its other end's cluster.
    transfers = run.transfers.assign(cluster=pd.concat(ends_of, axis=1).max(axis=1))
    done = pd.concat([table[["round", "cluster", "end_s"]] for table in (run.computes, transfers)])
    last = done[done["cluster"] >= 0].groupby(["round", "cluster"])["end_s"].max().unstack()
    taken = last.sub(run.rounds.set_index("round")["start_s"], axis=0)
    index = taken.sum(axis=1) ** 2 / (taken.count(axis=1) * (taken**2).sum(axis=1))
    return float(index.mean())


def scheme_of(run: Runs) -> str:
    return str(run.manifest["scheme"])


def seed_of(run: Runs) -> int:
    return int(run.manifest["seed"])


def ends(run: Runs) -> pd.Series:
    """The end of each round, in simulated seconds since the run began."""
    return run.rounds["start_s"] + run.rounds["duration_s"]


def has_loss(run: Runs) -> bool:
    """Whether the run's task has a loss; an earlier version did not record the task."""
    return "test_loss" in run.rounds or "task" not in run.manifest


def losses(run: Runs) -> pd.Series:
    """The loss on the test set after each round; nan where the task has none.

    Of a run by an earlier version without a test loss, it is the training loss.
    """
    if not has_loss(run):
        return pd.Series(math.nan, run.rounds.index)
    return run.rounds["test_loss" if "test_loss" in run.rounds else "loss"]


def smallest_loss(run: Runs) -> float:
    """The smallest loss of a run; nan where it diverged at once, so that no round has a loss."""
    return float(losses(run).min())


def _common_loss(runs: Sequence[Runs]) -> float:
    """The smallest target that all runs with any loss reached; nan where no run has a loss."""
    smallest = [loss for loss in map(smallest_loss, runs) if not math.isnan(loss)]
    return max(smallest, default=math.nan)


def interval(values: Sequence[float] | np.ndarray) -> float:
    """Half the width of the mean's confidence interval.

    Nan for fewer than two values, and where one is not finite: an interval over only the seeds that
    reached a target would be biased.
    """
    known = np.asarray(values, float)
    if len(known) < 2 or not np.isfinite(known).all():
        return math.nan
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1)
    return float(quantile * known.std(ddof=1) / math.sqrt(len(known)))


def _mean(values: pd.Series) -> float:
    """The mean; nan where any seed has no value."""
    known = values.to_numpy(float)
    return float(known.mean()) if len(known) and np.isfinite(known).all() else math.nan


def _energy_of(devices: pd.DataFrame) -> pd.Series:
    """The energy that each row's node took in joules: at idle, for computing, and for its radio.

    Tables of earlier versions have no energy at idle.
    """
    above_idle = devices["compute_energy_j"] + devices["radio_energy_j"]
    idle = devices.get("idle_energy_j")
    return above_idle if idle is None else above_idle + idle.fillna(0.0)


def _stations(run: Runs) -> set[str]:
    """The names of control units and the base station, which are not devices of the clusters."""
    names = set(run.devices["device"].astype(str))
    return {name for name in names if role(name) is not Role.DEVICE}


def _summary(frame: pd.DataFrame, schemes: Sequence[str], reference: str) -> pd.DataFrame:
    """Mean and interval of each metric, and of its paired difference from the reference."""
    rows = []
    for point, at_point in frame.groupby("point", sort=False):
        base = at_point[at_point["scheme"] == reference].set_index("seed")
        for scheme in schemes:
            own = at_point[at_point["scheme"] == scheme].set_index("seed")
            for key in METRICS:
                both = own.index.intersection(base.index)  # a run may have failed
                mine, its = own[key].loc[both], base[key].loc[both]
                difference, relative = mine - its, 100 * (mine / its - 1)
                rows.append(
                    {
                        "point": point,
                        "metric": key,
                        "scheme": scheme,
                        "seeds": len(own),
                        "reached": int(own[key].notna().sum()),
                        "stale": "; ".join(dict.fromkeys(filter(None, own["stale"]))),
                        "mean": _mean(own[key]),
                        "ci95": interval(own[key].to_numpy()),
                        "difference": _mean(difference),
                        "difference_ci95": interval(difference.to_numpy()),
                        "percent": _mean(relative),
                        "percent_ci95": interval(relative.to_numpy()),
                    }
                )
    return pd.DataFrame(rows)


def _energy(compared: Sequence[ComparedRun]) -> pd.DataFrame:
    """The energy of each device in a round, averaged over rounds and seeds."""
    parts = []
    for each in compared:
        devices, rounds = each.run.devices, len(each.run.rounds)
        total = _energy_of(devices).groupby(devices["device"].astype(str)).sum()
        parts.append(
            pd.DataFrame(
                {
                    "point": each.point,
                    "scheme": scheme_of(each.run),
                    "seed": seed_of(each.run),
                    "device": total.index,
                    "energy_j": (total / rounds).to_numpy(),
                }
            )
        )
    keys = ["point", "scheme", "device"]
    return pd.concat(parts).groupby(keys, sort=False)["energy_j"].mean().reset_index()
