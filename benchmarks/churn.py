"""Schemes under churn: the time to a target loss where devices leave and return at random.

`python -m benchmarks.churn FOLDER` runs the study `churn` into the folder, and prints the results
as Markdown. Runs that the folder has already are not made again. Options: `--seeds 0-4`, `--rounds
15`, `--factors 100,30,10`, `--jobs 2`, and `--cases` with names of `CASES` between semicolons.

The mean time between the failures of a device is a multiple (a factor) of the mean round of
`pipeline` without faults, and the mean time until it returns is two such rounds: the same seconds
for every scheme. Baselines abandon a pipeline that loses a device, as their papers say nothing
else. CollaPipe chooses how to recover, with hazards that it is told (`known`) or has to learn
(`unknown`). The other cases have a recovery of the study. The target is the highest of the lowest
losses that the cases of a factor reach, so that each of them reaches it with every seed.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

#: How long a device is away on average, in mean rounds of `pipeline` without faults.
AWAY = 2

#: A factor without any faults.
NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Case:
    """A scheme, how its pipelines recover (None: as it chooses), and whether hazards are known."""

    name: str
    scheme: str
    recovery: str | None = None
    known: bool = False


CASES = (
    Case("vanilla_fl", "vanilla_fl"),
    Case("pipeline", "pipeline"),
    Case("titanic", "titanic"),
    Case("collapipe, known", "collapipe", known=True),
    Case("collapipe, unknown", "collapipe"),
    Case("pipeline, restart", "pipeline", "restart"),
    Case("pipeline, replicate", "pipeline", "replicate"),
    Case("collapipe, known, abandon", "collapipe", "abandon", known=True),
    Case("collapipe, known, restart", "collapipe", "restart", known=True),
    Case("collapipe, known, replicate", "collapipe", "replicate", known=True),
)


@dataclass(frozen=True, slots=True)
class Job:
    """One run; the factor is `NEVER` without faults."""

    case: Case
    factor: float
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.case.name}, {self.factor:g}, seed {self.seed}".replace(", ", "-")

    def arguments(self, mean_round_s: float, rounds: int, out: Path) -> list[str]:
        """The command line of the run, without the name of the program."""
        sets = [f"training.recovery={self.case.recovery or 'null'}"]
        if math.isfinite(self.factor):
            mtbf_s, mttr_s = (f"{each * mean_round_s:.6g}" for each in (self.factor, AWAY))
            sets += [f"faults.nodes=[{{mtbf_s: {mtbf_s}, mttr_s: {mttr_s}}}]"]
            sets += [f"faults.known={str(self.case.known).lower()}"]
        else:
            sets += ["faults={}"]
        words = ["run", "churn", "--seed", str(self.seed), "--rounds", str(rounds)]
        words += ["--scheme", self.case.scheme, "--out", str(out)]
        return [*words, *(word for each in sets for word in ("--set", each))]


@dataclass(frozen=True)
class Result:
    """What a run has shown; arrays are by round.

    `ends_s` are simulated seconds since the run began. `expected_s` and `measured_s` are of the
    rounds in which CollaPipe expected nodes to leave.
    """

    ends_s: np.ndarray
    losses: np.ndarray
    rounds_s: np.ndarray
    failed: int
    bytes_on_air: float
    expected_s: np.ndarray
    measured_s: np.ndarray
    recoveries: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Result:
        """The result of the run in a folder."""
        rounds = _table(folder, "rounds")
        checks, recoveries = [], []
        for line in (folder / "plans.jsonl").read_text().splitlines():
            explanation = json.loads(line).get("explanation") or {}
            if (said := explanation.get("hazards")) is not None:
                policy = said["recovery"]["policy"]
                every = f" {said['recovery']['copy_every']}" if policy == "replicate" else ""
                recoveries.append(f"{policy}{every}")
            checks += [
                (row["predicted"], row["measured"])
                for row in explanation.get("measured", ())
                if row["quantity"] == "expected_s"
            ]
        expected = np.array(checks, dtype=float).reshape(-1, 2)
        return cls(
            ends_s=(rounds["start_s"] + rounds["duration_s"]).to_numpy(),
            losses=rounds["test_loss"].to_numpy(),
            rounds_s=rounds["duration_s"].to_numpy(),
            failed=int(rounds["failed_pipelines"].sum()),
            bytes_on_air=float(_table(folder, "transfers")["bytes"].sum()) / len(rounds),
            expected_s=expected[:, 0],
            measured_s=expected[:, 1],
            recoveries=tuple(recoveries),
        )

    def time_to_s(self, target: float) -> float:
        """When a round first ended with this loss on the test set or less; nan if none has."""
        reached = self.losses <= target
        return float(self.ends_s[reached].min()) if reached.any() else math.nan


def _table(folder: Path, name: str) -> pd.DataFrame:
    parts = sorted((folder / name).glob("*.parquet"))
    return pd.concat([pd.read_parquet(part) for part in parts])


def run_all(jobs: Sequence[Job], mean_round_s: float, options: argparse.Namespace) -> list[Result]:
    """The results of all jobs, of which those are run that the folder has not."""

    def result(job: Job) -> Result:
        out = options.folder / job.name
        if not (out / "done").exists():
            shutil.rmtree(out, ignore_errors=True)
            words = job.arguments(mean_round_s, options.rounds, out)
            command = [sys.executable, "-m", "collapipe_ns3", *words]
            # The exit code is 1 where in a round no cluster contributed, too.
            ended = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
            if ended.returncode > 1 or len(_table(out, "rounds")) < options.rounds:
                raise RuntimeError(f"{job.name}: exit code {ended.returncode}")
            (out / "done").touch()
        return Result.read(out)

    with ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(result, jobs))


def report(factor: float, found: Sequence[tuple[Job, Result]]) -> Iterator[str]:
    """The lines of a table with a row for each case."""
    target = max(float(np.nanmin(each.losses)) for _, each in found)
    yield f"\nMTBF of {factor:g} rounds; target loss {target:.3f}\n"
    yield "| case | time to target, s | round, s | failed pipelines | MB a round | recovery |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for case in dict.fromkeys(job.case for job, _ in found):
        own = [each for job, each in found if job.case == case]
        chosen = [each for result in own for each in result.recoveries]
        counts = ", ".join(f"{each} {chosen.count(each)}x" for each in sorted(set(chosen)))
        cells = [
            case.name,
            _mean([each.time_to_s(target) for each in own]),
            _mean([float(each.rounds_s.mean()) for each in own]),
            f"{sum(each.failed for each in own)}",
            _mean([each.bytes_on_air / 1e6 for each in own]),
            counts or case.recovery or "abandon",
        ]
        yield f"| {' | '.join(cells)} |"
    expected, measured = (
        np.concatenate([getattr(each, key) for _, each in found])
        for key in ("expected_s", "measured_s")
    )
    if len(expected):
        ratio = measured.mean() / expected.mean()
        error = measured.std(ddof=1) / math.sqrt(len(measured)) / expected.mean() * 1.96
        yield f"\nmeasured over expected rounds: {ratio:.3f} ± {error:.3f} ({len(measured)} rounds)"


def _mean(values: Sequence[float]) -> str:
    """The mean with a 95 % confidence interval (Student's t) where there are several values."""
    from scipy.stats import t

    count, mean = len(values), float(np.mean(values))
    if count == 1:
        return f"{mean:.2f}"
    half = float(t.ppf(0.975, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return f"{mean:.2f} ± {half:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--factors", default="100,30,10")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cases", default="")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    wanted = options.cases.split(";")
    cases = [each for each in CASES if each.name in wanted or not options.cases]
    plain = [Job(Case("pipeline", "pipeline"), NEVER, seed) for seed in seeds]
    without = run_all(plain, 1.0, options)
    mean_round_s = float(np.mean([each.rounds_s.mean() for each in without]))
    print(f"mean round of pipeline without faults: {mean_round_s:.3f} s", flush=True)
    for factor in map(float, options.factors.split(",")):
        jobs = [Job(case, factor, seed) for case in cases for seed in seeds]
        results = run_all(jobs, mean_round_s, options)
        print("\n".join(report(factor, list(zip(jobs, results, strict=True)))), flush=True)


if __name__ == "__main__":
    main()
