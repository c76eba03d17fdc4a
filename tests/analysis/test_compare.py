"""Means, intervals and paired differences of comparisons equal those computed by hand."""

from __future__ import annotations

import errno
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from synthetic_runs import write_run

from analysis.compare import ComparedRun, Comparison, compare, fairness, interval
from analysis.comparison_files import figure, format_mean, markdown, write
from analysis.load import Runs, load
from analysis.paper_claims import claim_results


@dataclass(frozen=True)
class RunMaker:
    """Makes runs of two clusters of one device each, in directories below `folder`."""

    folder: Path

    def __call__(
        self,
        scheme: str,
        seed: int,
        durations: list[float],
        losses: list[float],
        memory: int = 100,
        *,
        metric: list[float] | None = None,
        has_loss: bool = True,
        sits_out: str = "",
        task: dict[str, Any] | None = None,
    ) -> Runs:
        """A run with these rounds.

        `metric` has the values of the main metric, `sits_out` is why the first device sits out, and
        `task` is the task in the manifest, which earlier versions did not record.
        """
        begun = np.cumsum([0.0, *durations[:-1]])
        values = metric or [1 - each for each in losses]
        rounds = [
            {
                "start_s": start,
                "duration_s": duration,
                "computation_s": duration / 2,
                "loss": loss,
                "metric": value,
                **({"test_loss": loss} if has_loss else {}),
            }
            for start, duration, loss, value in zip(begun, durations, losses, values, strict=True)
        ]
        nodes = [("c0.cu", 0), ("c0.d0", 0), ("c1.cu", 1), ("c1.d0", 1), ("bs", -1)]
        devices = [
            {
                "round": number,
                "device": node,
                "cluster": cluster,
                "peak_memory_bytes": memory if node == "c1.d0" else 10**9 * (cluster < 0),
                "compute_energy_j": 2.0,
                "radio_energy_j": 1.0,
                "sits_out": sits_out if node == "c0.d0" else "",
            }
            for number in range(len(rounds))
            for node, cluster in nodes
        ]
        # The first cluster has finished at half of the round, the second at its end.
        transfers = [
            {
                "round": number,
                "src": src,
                "dst": "bs",
                "bytes": 500_000,
                "end_s": row["start_s"] + share * row["duration_s"],
            }
            for number, row in enumerate(rounds)
            for src, share in (("c0.cu", 0.5), ("c1.cu", 1.0))
        ]
        folder = self.folder / str(len(list(self.folder.iterdir())))
        tables = {"rounds": rounds, "devices": devices, "transfers": transfers}
        write_run(folder, scheme=scheme, seed=seed, manifest={"task": task}, **tables)
        return load(folder)


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> RunMaker:
    return RunMaker(tmp_path_factory.mktemp("runs"))


def runs_of(*runs: Runs) -> list[ComparedRun]:
    return [ComparedRun("", each) for each in runs]


@pytest.fixture
def compared(run: RunMaker) -> Comparison:
    return compare(
        runs_of(
            run("pipeline", 0, [4.0, 4.0], [0.9, 0.5]),
            run("pipeline", 1, [6.0, 6.0], [0.8, 0.4]),
            run("collapipe", 0, [2.0, 2.0, 2.0], [0.9, 0.6, 0.5], memory=40),
            run("collapipe", 1, [2.0, 2.0, 2.0], [0.9, 0.6, 0.3], memory=40),
        )
    )


def value(compared: Comparison, metric: str, scheme: str, column: str) -> float:
    rows = compared.summary
    row = rows[(rows["metric"] == metric) & (rows["scheme"] == scheme)]
    return float(row[column].iloc[0])


def test_means_and_paired_differences_are_those_done_by_hand(compared: Comparison) -> None:
    assert compared.reference == "collapipe"
    assert value(compared, "round_s", "pipeline", "mean") == 5.0
    assert value(compared, "round_s", "pipeline", "difference") == 3.0
    # Two differences, 2 and 4: half of the interval is t(0.975, 1) · sd / √2 = 12.706 · 1.
    assert value(compared, "round_s", "pipeline", "difference_ci95") == pytest.approx(
        12.706, rel=1e-4
    )
    assert value(compared, "round_s", "pipeline", "percent") == pytest.approx(150.0)
    assert value(compared, "round_s", "collapipe", "difference") == 0.0
    assert value(compared, "bytes_on_air", "pipeline", "mean") == 1e6
    assert value(compared, "device_energy_j", "pipeline", "mean") == 6.0
    assert value(compared, "energy_j", "pipeline", "mean") == 15.0
    assert value(compared, "peak_device_memory_bytes", "collapipe", "mean") == 40


def test_a_run_that_never_had_a_loss_takes_the_target_from_no_other(run: RunMaker) -> None:
    """Its training diverged at once; the other runs are compared as without it."""
    runs = [
        run("vanilla_fl", 0, [1.0], [math.nan]),
        run("pipeline", 0, [4.0, 4.0], [0.9, 0.5]),
        run("collapipe", 0, [2.0, 2.0], [0.6, 0.4]),
    ]
    for order in (runs, runs[::-1]):
        compared = compare([ComparedRun("", each) for each in order])
        times = compared.runs.set_index("scheme")["time_to_loss_s"]
        assert (times["pipeline"], times["collapipe"]) == (8.0, 4.0)
        assert math.isnan(times["vanilla_fl"])


def test_what_other_code_made_is_marked_everywhere(run: RunMaker, tmp_path: Path) -> None:
    why = "torch 2.12 → 2.13"
    made = [
        ComparedRun("", run("pipeline", 0, [4.0], [0.5]), why),
        ComparedRun("", run("pipeline", 1, [4.0], [0.5])),
        ComparedRun("", run("collapipe", 0, [2.0], [0.5])),
        ComparedRun("", run("collapipe", 1, [2.0], [0.5])),
    ]
    compared = compare(made)
    assert compared.runs["stale"].tolist() == [why, "", "", ""]
    by_scheme = compared.summary.groupby("scheme")["stale"].unique()
    assert (list(by_scheme["pipeline"]), list(by_scheme["collapipe"])) == ([why], [""])
    text = markdown(compared, "heading", "each as it is", "command")
    assert "| pipeline* | collapipe |" in text
    assert f"\\* pipeline: made by other code than the present: {why}" in text
    ticks = [each.get_text() for each in figure(compared).axes[0].get_xticklabels()]
    assert ticks == ["pipeline*", "collapipe"]


def test_the_target_is_what_the_slowest_learner_reached(compared: Comparison) -> None:
    """0.5: after both rounds of `pipeline` (8 and 12 s), and all three of `collapipe`'s (6 s)."""
    times = compared.runs.set_index(["scheme", "seed"])["time_to_loss_s"]
    assert times.to_dict() == {
        ("pipeline", 0): 8.0,
        ("pipeline", 1): 12.0,
        ("collapipe", 0): 6.0,
        ("collapipe", 1): 6.0,
    }
    metric = compared.runs.set_index(["scheme", "seed"])["metric_at_time"]
    assert metric["collapipe", 1] == pytest.approx(0.7)
    assert metric["pipeline", 0] == pytest.approx(0.1)  # by 6 s it has one round


def task(*, higher: bool) -> dict[str, Any]:
    """A task whose main metric is named perplexity, as the manifest has it."""
    metric = {"name": "perplexity", "unit": "nats", "higher_is_better": higher}
    return {"name": "mine", "metric": metric}


def test_the_direction_of_the_main_metric_is_that_of_the_manifest(run: RunMaker) -> None:
    rounds: list[tuple[str, int, list[float], list[float]]] = [
        ("pipeline", 0, [4.0, 4.0], [0.9, 0.5]),
        ("collapipe", 0, [2.0, 2.0, 2.0], [0.9, 0.5, 0.6]),
    ]
    runs = [run(*each) for each in rounds]
    lower = compare(
        runs_of(*(run(*each, metric=each[3], task=task(higher=False)) for each in rounds))
    )
    higher = compare(runs_of(*(run(*each, task=task(higher=True)) for each in rounds)))
    for compared in (lower, higher, compare(runs_of(*runs))):
        assert value(compared, "time_to_metric_s", "pipeline", "mean") == 8.0
        assert value(compared, "time_to_metric_s", "collapipe", "mean") == 4.0
        assert compared.notes == ()
    at_time = lower.metrics["metric_at_time"]
    assert (at_time.label, at_time.unit) == ("perplexity at equal time (lower is better)", "nats")
    assert at_time.smaller_is_better
    assert not higher.metrics["final_metric"].smaller_is_better
    assert compare(runs_of(*runs)).metrics["final_metric"].label == "final metric"


def test_a_task_without_a_loss_has_no_time_to_it_and_the_comparison_says_so(run: RunMaker) -> None:
    made = [
        run(scheme, 0, [4.0, 4.0], [0.9, 0.5], has_loss=False, task=task(higher=True))
        for scheme in ("pipeline", "collapipe")
    ]
    for target in (None, 0.7):
        compared = compare(runs_of(*made), target_loss=target)
        assert math.isnan(value(compared, "time_to_loss_s", "pipeline", "mean"))
        assert value(compared, "time_to_metric_s", "pipeline", "mean") == 8.0
        note = "there is no time to a target loss: the task mine has no loss on its test set"
        assert compared.notes == (note,)
        text = markdown(compared, "two", "each as it is", "compare two")
        assert "| time to target loss, s | - | - |" in text
        assert note in text


def test_fairness_is_jains_index_of_the_clusters_times(run: RunMaker) -> None:
    """Of 1 and 2 (half and all of a round): (1 + 2)² / (2·(1 + 4)) = 0.9."""
    assert fairness(run("x", 0, [3.0, 5.0], [1.0, 1.0])) == pytest.approx(0.9)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_intervals_are_students(values: list[float]) -> None:
    low, high = stats.t.interval(
        0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values)
    )
    half = interval(values)
    if np.ptp(values) > 1e-6:
        assert half == pytest.approx((high - low) / 2, rel=1e-9)


def test_a_target_that_some_seeds_miss_has_no_mean_of_the_others(run: RunMaker) -> None:
    """A mean over the seeds that reached it would favour schemes that rarely do."""
    missed = compare(
        runs_of(
            run("pipeline", 0, [1.0, 1.0], [0.9, 0.2]),
            run("pipeline", 1, [1.0, 1.0], [0.9, 0.8]),
            run("collapipe", 0, [2.0], [0.2]),
            run("collapipe", 1, [2.0], [0.2]),
        ),
        target_loss=0.5,
    )
    assert math.isnan(value(missed, "time_to_loss_s", "pipeline", "mean"))
    assert math.isnan(value(missed, "time_to_loss_s", "pipeline", "percent"))
    assert value(missed, "time_to_loss_s", "collapipe", "mean") == 2.0
    assert "| time to target loss, s | 1 of 2 | 2 |" in markdown(
        missed, "two", "each as it is", "compare two"
    )


def test_a_run_that_failed_leaves_the_pairs_of_the_others(run: RunMaker) -> None:
    runs = [run("pipeline", seed, [4.0], [0.5]) for seed in (0, 1)]
    made = compare(runs_of(*runs, run("collapipe", 1, [2.0], [0.5])))
    assert value(made, "round_s", "pipeline", "percent") == pytest.approx(100.0)


def test_who_sat_out_is_reported(run: RunMaker) -> None:
    made = run("vanilla_fl", 0, [1.0], [0.5], sits_out="too small")
    text = markdown(compare(runs_of(made)), "one", "each as it is", "compare one")
    assert "vanilla_fl: 1 devices a round sat out" in text


def test_one_seed_has_no_interval(run: RunMaker) -> None:
    assert math.isnan(interval([1.0]))
    alone = compare(runs_of(run("pipeline", 0, [1.0], [0.5])))
    assert math.isnan(value(alone, "round_s", "pipeline", "ci95"))
    assert "1 |" in markdown(alone, "alone", "each as it is", "command")


def test_the_papers_figures_are_compared_with_ours(run: RunMaker, compared: Comparison) -> None:
    verdicts = {
        (each.claim.what, each.claim.baseline): each.verdict for each in claim_results(compared, "")
    }
    # -50 % and -67 %: beyond the paper's 48.98 %, but two seeds leave zero within the interval.
    assert verdicts["end-to-end latency", "pipeline"] == "not reproduced"
    assert verdicts["training delay", "titanic"] == "not tried"
    sure = compare(
        runs_of(
            *(run("pipeline", seed, [4.0 + 0.01 * seed], [0.5]) for seed in range(3)),
            *(run("collapipe", seed, [share], [0.5]) for seed, share in enumerate([2.0] * 3)),
        )
    )
    (latency,) = [f for f in claim_results(sure, "") if f.claim.baseline == "pipeline"]
    assert latency.verdict == "reproduced"
    assert latency.percent == pytest.approx(-50.1, abs=0.1)


def test_a_comparison_is_written_as_tables_text_and_a_figure(
    compared: Comparison, tmp_path: Path
) -> None:
    files = write(compared, tmp_path, "two", "each as it is", "compare two")
    assert [file.name for file in files] == [
        "comparison.parquet",
        "runs.parquet",
        "comparison.md",
        "comparison.png",
    ]
    assert len(pd.read_parquet(files[0])) == len(compared.summary)
    text = files[2].read_text()
    assert "| end-to-end delay, s | 5±13 | 2 |" in text
    assert "not reproduced" in text
    assert "at least -48.98 %" in text
    assert len(figure(compared).axes) == 6


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (1.234, 0.0213, "1.234±0.021"),
        (635.2, 270.0, "635±270"),
        (0.0221, 1e-6, "0.022±0.000"),
        (5.0, math.nan, "5"),
        (math.nan, math.nan, "-"),
    ],
)
def test_means_are_rounded_to_the_intervals_second_digit(
    mean: float, half: float, text: str
) -> None:
    assert format_mean(mean, half) == text


def test_nothing_to_compare_is_an_error(run: RunMaker) -> None:
    with pytest.raises(ValueError, match="no finished run"):
        compare([])
    with pytest.raises(ValueError, match="no run of titanic; there are pipeline"):
        compare(runs_of(run("pipeline", 0, [1.0], [0.5])), reference="titanic")


def test_files_of_a_comparison_are_whole_or_as_they_were(
    run: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = compare([ComparedRun("", run("collapipe", seed, [1.0], [0.5])) for seed in (1, 2)])
    files = write(compared, tmp_path, "tiny", "each as it is", "compare tiny")
    before = [file.read_bytes() for file in files]

    def full(descriptor: int, content: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write(compared, tmp_path, "another heading", "each as it is", "compare tiny")
    assert [file.read_bytes() for file in files] == before
