"""A plan may choose the number of local steps, within the bounds of the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plugging
import pytest
import studies

from analysis import load
from collapipe_ns3 import Study
from collapipe_ns3.learning.updates import Update, UpdateRule
from collapipe_ns3.plan import PlanError
from collapipe_ns3.reading import study_file
from collapipe_ns3.run.planning import Planning
from collapipe_ns3.run.replay import replay

#: Local steps of the rounds under the scheme that is installed here.
STEPS = (1, 3, 2)

CHOOSING = f"""
    def plan(self, round, observation):
        steps = {STEPS}[round]
        return replace(super().plan(round, observation), local_steps=steps)
"""


def training(**changes: Any) -> dict[str, Any]:
    return {**studies.TINY["training"], **changes}


def errors_of(local_steps: object) -> dict[str, str]:
    data = studies.tiny(training=training(local_steps=local_steps))
    return {each.path: each.message for each in study_file.check(data)[1]}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The tiny study with a scheme that chooses `STEPS`."""
    folder = tmp_path / "plugged"
    folder.mkdir()
    plugging.install(folder, CHOOSING)
    monkeypatch.syspath_prepend(str(folder))
    # The warm-up does not depend on the number of rounds, so that a run can get more of them.
    bounds = {"local_steps": {"least": 1, "most": 3}, "warm_up_steps": 8}
    return Study.load(studies.write(tmp_path, training=training(**bounds)), scheme="mine")


def test_a_number_is_both_bounds_and_stays_a_number() -> None:
    fixed = studies.config(training=training(local_steps=3))
    assert (fixed.training.least_steps, fixed.training.most_steps) == (3, 3)
    assert "  local_steps: 3\n" in study_file.dump(fixed)
    bounds = studies.config(training=training(local_steps={"least": 2, "most": 20}))
    assert (bounds.training.least_steps, bounds.training.most_steps) == (2, 20)
    assert study_file.parse("again", study_file.dump(bounds)) == bounds
    assert bounds.training.updates(5).total_steps == 100


@pytest.mark.parametrize(
    ("given", "path", "says"),
    [
        (0, "", "expected 1 or more, not 0"),
        ("four", "", "expected a whole number, not 'four'"),
        ({"least": 0, "most": 3}, ".least", "expected 1 or more, not 0"),
        ({"least": 5, "most": 2}, ".most", "expected at least as many as least, 5, not 2"),
        ({"least": 5}, ".most", "is missing"),
        ({"least": 5, "must": 7, "most": 7}, ".must", "did you mean most?"),
    ],
)
def test_wrong_bounds_are_refused_at_their_place(given: object, path: str, says: str) -> None:
    assert says in errors_of(given)[f"training.local_steps{path}"]


def test_schemes_are_shown_the_bounds_and_need_not_choose() -> None:
    bounds = training(local_steps={"least": 2, "most": 20})
    planning = Planning(studies.config(training=bounds))
    seen = planning.observation()
    assert (seen.local_steps, seen.most_local_steps) == (2, 20)
    assert planning.plan().local_steps is None


def test_each_round_has_the_steps_of_its_plan(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered: list[int] = []
    at = UpdateRule.at

    def recorded(rule: UpdateRule, step: int) -> Update:
        numbered.append(step)
        return at(rule, step)

    monkeypatch.setattr(UpdateRule, "at", recorded)
    whole = study.run(rounds=3, out=tmp_path / "whole")
    # Learning rates go on from round to round, as there is one cluster with one pipeline.
    assert numbered == list(range(sum(STEPS)))
    steps = whole.computes.query("action == 'F'").groupby("round")["step"].nunique()
    assert steps.tolist() == list(STEPS)
    assert [plan["local_steps"] for plan in load(tmp_path / "whole").plans] == list(STEPS)

    numbered.clear()
    study.run(rounds=2, out=tmp_path / "parts")
    parts = study.run(rounds=3, out=tmp_path / "parts", resume=True)
    assert numbered == list(range(sum(STEPS)))
    assert parts.rounds["loss"].tolist() == whole.rounds["loss"].tolist()
    assert replay(tmp_path / "parts", 2).different == ()


def test_a_number_out_of_bounds_is_refused(study: Study) -> None:
    for steps, expected in (({"least": 1, "most": 2}, "1 to 2"), (1, "1 .*which has no")):
        planning = Planning(study.with_(set={"training.local_steps": steps}).config)
        assert planning.plan().local_steps == 1
        planning.next_round = 1
        with pytest.raises(PlanError, match=f"local steps: expected {expected} .*, not 3"):
            planning.plan()
