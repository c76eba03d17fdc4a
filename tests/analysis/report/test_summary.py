"""The words of the report say no more than the intervals show."""

from __future__ import annotations

from pathlib import Path

from synthetic_runs import write_run

from analysis import load
from analysis.report import settings, summary


def sentences(*directories: Path) -> list[str]:
    runs = load(*directories)
    return summary.results(runs, settings.compare_runs(runs).comparison)


def durations(folder: Path, scheme: str, means: list[float]) -> list[Path]:
    """A run for each seed, with one round of the given duration."""
    return [
        write_run(folder / f"{scheme}{n}", scheme=scheme, seed=n, rounds=[{"duration_s": mean}])
        for n, mean in enumerate(means)
    ]


def test_a_difference_has_its_interval(tmp_path: Path) -> None:
    """By seed 20 and 30 % more: mean 25 %, ± t(0.975, 1) · sd / √2 = 12.706 · 5 % = 63.5 %.

    And 24, 25 and 26 % more: ± 4.3027 · 1 % / √3 = 2.48 %.
    """
    ours = durations(tmp_path, "collapipe", [10.0, 10.0, 10.0])
    unsure = durations(tmp_path, "titanic", [12.0, 13.0])
    sure = durations(tmp_path, "pipeline", [12.4, 12.5, 12.6])
    assert sentences(*ours, *unsure, *sure)[0] == (
        "The mean time of a round is 10 s with collapipe; it is 25.0 % higher with pipeline "
        "(+22.5 to +27.5 %); no difference is shown for titanic (−39 to +89 %)."
    )


def test_a_difference_that_is_the_same_with_each_seed(campaign: Path) -> None:
    """titanic's rounds take 1.5 times collapipe's 4 s with every seed."""
    assert sentences(campaign)[0] == (
        "The mean time of a round is 4 s with collapipe; "
        "it is 50 % higher with titanic (the same with each seed)."
    )


def test_the_metric_is_compared_in_its_own_unit(campaign: Path) -> None:
    """0.1, −0.1 and 0 by seed: mean 0, ± 4.3027 · 0.1 / √3 = 0.248."""
    assert sentences(campaign)[1] == (
        "The exact_match after the last round is 0.6 with collapipe; "
        "no difference is shown for titanic (−0.25 to +0.25)."
    )


def test_one_seed_has_no_interval_and_says_so(campaign: Path) -> None:
    cells = campaign / "cells"
    found = sentences(cells / "collapipe-seed0", cells / "titanic-seed0")
    assert found[0] == (
        "The mean time of a round is 2 s with collapipe; it is 50 % higher with titanic."
    )
    assert "one seed" in found[-1]
    assert "chance" in found[-1]
    assert not any("(" in sentence for sentence in found[:2])


def test_at_several_points_schemes_are_counted(tmp_path: Path) -> None:
    paths = [
        write_run(
            tmp_path / f"{scheme}-{width}",
            scheme=scheme,
            rounds=[{"duration_s": duration}],
            study={"model": {"width": width}},
        )
        for width, of_titanic in ((64, 2.0), (128, 3.0), (256, 0.5))
        for scheme, duration in (("collapipe", 1.0), ("titanic", of_titanic))
    ]
    assert sentences(*paths)[0] == (
        "The mean time of a round, against collapipe at 3 settings: with titanic it is higher at "
        "2, lower at 1, and without a shown difference at 0."
    )


def test_runs_that_cannot_be_compared_are_left_out_with_a_reason(tmp_path: Path) -> None:
    one = durations(tmp_path, "collapipe", [1.0])[0]
    other = durations(tmp_path, "titanic", [2.0])[0]
    again = write_run(tmp_path / "again", scheme="titanic", seed=0)
    short = write_run(tmp_path / "short", scheme="titanic", seed=3, study={"rounds": 5})
    shorter = write_run(tmp_path / "shorter", scheme="titanic", seed=5, study={"rounds": 5})
    metric = {"name": "accuracy", "unit": "", "higher_is_better": True}
    task = {"task": {"name": "intents", "metric": metric}}
    text = write_run(tmp_path / "text", scheme="titanic", seed=4, manifest=task)
    runs = load(text, one, other, again, short, shorter)
    found = settings.compare_runs(runs)
    assert found.notes == (
        "not in the comparison (another task): text",
        "not in the comparison (the same study, scheme and seed as titanic0): again",
        "not in the comparison (not finished): short, shorter",
    )
    assert found.comparison is not None
    assert list(found.comparison.runs["round_s"]) == [1.0, 2.0]
    assert summary.unfinished(runs) == [
        "short is not finished: it has 1 of 5 rounds",
        "shorter is not finished: it has 1 of 5 rounds",
    ]


def test_runs_of_a_scheme_with_other_settings_are_not_repetitions(tmp_path: Path) -> None:
    paths = [
        write_run(
            tmp_path / str(budget_j),
            study={"scheme": {"name": "collapipe", "settings": {"energy_budget_j": budget_j}}},
        )
        for budget_j in (1.5, 3.0)
    ]
    found = settings.compare_runs(load(*paths))
    assert found.notes == ()
    assert found.comparison is not None
    points = [f"scheme.settings.energy_budget_j={budget_j}" for budget_j in (1.5, 3.0)]
    assert list(found.comparison.runs["point"]) == points


def test_what_was_run_is_named(campaign: Path) -> None:
    assert summary.what_was_run(load(campaign)) == (
        "The study synthetic was run with the schemes collapipe and titanic and the seeds 0–2, for "
        "3 rounds. The main metric of the task numbers is exact_match; higher is better."
    )
