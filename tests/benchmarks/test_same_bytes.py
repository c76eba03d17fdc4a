"""Results of two commits are compared bit for bit."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import torch

from benchmarks.same_bytes import cases, different_columns, different_values, parsed

BEFORE = {
    "next_round": 2,
    "noise": {"variance": math.nan},
    "training": [{"step": torch.tensor(3.0), "weight": torch.tensor([1.0, -0.0, math.nan])}],
}


def test_the_last_bit_of_a_tensor_is_seen_and_nan_equals_itself() -> None:
    after = {**BEFORE, "training": [{"step": torch.tensor(3.0), "weight": torch.zeros(3)}]}
    after["training"][0]["weight"] = torch.tensor([1.0, 0.0, math.nan])
    assert list(different_values(BEFORE, BEFORE, "kept")) == []
    assert list(different_values(BEFORE, after, "kept")) == ["kept.training[0].weight"]


def test_what_only_one_side_has_is_not_compared() -> None:
    assert list(different_values(BEFORE, {**BEFORE, "new": 1}, "kept")) == []
    assert list(different_values([1], [1, 2], "kept")) == ["kept: 1 and 2 of them"]


def test_columns_that_both_have_are_compared_except_for_the_wall_clock() -> None:
    one = pd.DataFrame({"loss": [1.0, math.nan], "wall_s": [1.0, 2.0], "old": [1, 2]})
    other = pd.DataFrame({"loss": [1.0, math.nan], "wall_s": [3.0, 4.0], "new": [1, 2]})
    assert different_columns(one, other) == []
    assert different_columns(one, other.assign(loss=[1.0, 2.0])) == ["loss"]
    assert different_columns(one, other.iloc[:1]) == ["rows"]
    zero = pd.DataFrame({"loss": [0.0, math.nan]})
    assert different_columns(zero, zero) == []
    assert different_columns(zero, pd.DataFrame({"loss": [-0.0, math.nan]})) == ["loss"]
    assert list(different_values({"a": 0.0}, {"a": -0.0}, "kept")) == ["kept.a"]


def test_categories_are_compared_as_what_they_stand_for() -> None:
    one = pd.DataFrame({"kind": pd.Categorical(["F", "B"], ["F", "B"])})
    other = pd.DataFrame({"kind": pd.Categorical(["F", "B"], ["B", "F", "step"])})
    assert different_columns(one, other) == []


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names) == 26


def test_cases_may_be_named_before_and_after_the_folder() -> None:
    for arguments in (["HEAD", "a", "b", "--keep", "kept"], ["HEAD", "--keep", "kept", "a", "b"]):
        options = parsed(arguments)
        assert (options.commit, options.cases, options.keep) == ("HEAD", ["a", "b"], Path("kept"))
