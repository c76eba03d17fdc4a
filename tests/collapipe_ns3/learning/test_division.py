"""Divisions of data: disjoint, complete, of the sizes that were asked for, and repeatable."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapipe_ns3.learning.division import Division, divide, length_bins
from collapipe_ns3.learning.protocol import BadTask, Setup

DIVISIONS = get_args(Division)
GROUPS = st.lists(st.integers(0, 6), min_size=40, max_size=120)
SIZES = st.lists(st.none() | st.integers(1, 12), min_size=1, max_size=4).map(tuple)
ALPHA = st.sampled_from([1e-6, 0.01, 0.3, 1.0, 50.0, 1e6])


def setup(*sizes: int | None, batch_size: int = 1, seed: int = 0) -> Setup:
    return Setup(sizes, batch_size, seed)


@given(st.sampled_from(DIVISIONS), GROUPS, SIZES, ALPHA, st.integers(1, 4), st.integers(0, 9))
def test_clusters_are_disjoint_complete_and_of_the_sizes_given(
    division: Division,
    groups: list[int],
    sizes: tuple[int | None, ...],
    alpha: float,
    batch_size: int,
    seed: int,
) -> None:
    asked = setup(*sizes, batch_size=batch_size, seed=seed)
    try:
        parts = divide(division, groups, asked, alpha)
    except BadTask:
        return
    assert parts == divide(division, groups, asked, alpha)
    every = [index for part in parts for index in part]
    assert len(set(every)) == len(every)
    assert set(every) <= set(range(len(groups)))
    for part, size in zip(parts, sizes, strict=True):
        assert len(part) >= batch_size
        assert size is None or len(part) == size
    if None in sizes and (division != "source" or set(sizes) == {None}):
        assert len(every) == len(groups)


@given(st.sampled_from(["iid", "dirichlet"]), st.integers(20, 90), st.integers(1, 5), ALPHA)
def test_clusters_without_a_size_are_equally_large(
    division: Division, examples: int, clusters: int, alpha: float
) -> None:
    parts = divide(division, [n % 3 for n in range(examples)], setup(*[None] * clusters), alpha)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.integers(0, 9), min_size=40, max_size=80), st.integers(1, 3))
def test_sources_stay_together(groups: list[int], clusters: int) -> None:
    if len(set(groups)) < clusters:
        return
    parts = divide("source", groups, setup(*[None] * clusters))
    owners = [{groups[index] for index in part} for part in parts]
    assert sum(map(len, owners)) == len(set().union(*owners))


def test_sources_are_spread_so_that_sizes_are_similar() -> None:
    groups = [source for source, size in enumerate([40, 30, 20, 10, 5, 5]) for _ in range(size)]
    assert sorted(len(part) for part in divide("source", groups, setup(None, None))) == [55, 55]


def fractions(parts: list[list[int]], groups: list[int]) -> np.ndarray:
    counts = [Counter(groups[index] for index in part) for part in parts]
    return np.array(
        [[count[g] / len(p) for g in range(4)] for count, p in zip(counts, parts, strict=True)]
    )


@pytest.mark.parametrize("alpha", [0.3, 1.0, 10.0])
def test_fractions_of_labels_vary_as_the_dirichlet_distribution_says(alpha: float) -> None:
    """A few small clusters of much data: no group is used up, so p·(1 − p) / (α + 1) holds."""
    groups = [n % 4 for n in range(4000)]
    found = [
        fractions(divide("dirichlet", groups, setup(400, seed=seed), alpha), groups)
        for seed in range(400)
    ]
    p = 1 / 4
    assert np.mean(found) == pytest.approx(p)
    drawn = p * (1 - p) / (alpha + 1)
    assert np.var(found) == pytest.approx(drawn + (p * (1 - p) - drawn) / 400, rel=0.15)


def test_no_cluster_has_the_first_choice() -> None:
    """Two clusters that want all examples of the same group get about half of them each."""
    groups = [n % 4 for n in range(400)]
    contested = 0
    for seed in range(30):
        found = fractions(divide("dirichlet", groups, setup(100, 100, seed=seed), 1e-6), groups)
        [group] = np.flatnonzero(found.sum(axis=0) > 0.9)[:1]
        if (found[:, group] < 0.9).all():
            contested += 1
            assert found[:, group].sum() == pytest.approx(1.0)
            assert found[:, group] == pytest.approx(0.5, abs=0.2)
    assert contested > 3


def test_a_small_alpha_gives_one_label_and_a_large_one_all() -> None:
    groups = [n % 4 for n in range(400)]
    skewed = divide("dirichlet", groups, setup(50, 50, seed=3), 1e-6)
    assert [len({groups[index] for index in part}) for part in skewed] == [1, 1]
    alike = divide("dirichlet", groups, setup(None, None), 1e6)
    assert fractions(alike, groups) == pytest.approx(np.full((2, 4), 0.25), abs=0.08)


def test_quantities_differ_the_more_the_smaller_alpha() -> None:
    def spread(alpha: float) -> float:
        sizes = [
            [len(part) for part in divide("quantity", [0] * 9000, setup(None, None, seed=s), alpha)]
            for s in range(20)
        ]
        return float(np.std(sizes))

    assert spread(0.5) > 3 * spread(50.0)


@pytest.mark.parametrize(
    ("division", "sizes", "key", "message"),
    [
        ("iid", (8, 8), "", "the clusters are given 16 examples, but the data has 12"),
        (
            "iid",
            (11, None),
            "division",
            "division iid leaves 1 examples for cluster 1, but a batch needs 2",
        ),
        (
            "iid",
            (12, None),
            "division",
            "division iid leaves 0 examples for cluster 1, but a batch needs 2",
        ),
        ("iid", (None, 1), "", "cluster 1 is given 1 examples, but a batch needs 2"),
        ("source", (11, 1), "division", "whole sources give cluster 1 0 of its 1 examples"),
        ("quantity", (4, 4), "division", "quantity draws sizes, but the study gives all of them"),
        (
            "quantity",
            (None,) * 9,
            "dirichlet_alpha",
            "division quantity leaves [01] examples for cluster .",
        ),
        ("source", (None,) * 4, "division", "division source leaves 0 examples for cluster 3"),
        ("dirichlet", (None,) * 8, "division", "but a batch needs 2"),
    ],
)
def test_clusters_with_too_few_examples_are_reported(
    division: Division, sizes: tuple[int | None, ...], key: str, message: str
) -> None:
    with pytest.raises(BadTask, match=message) as caught:
        divide(division, [n % 3 for n in range(12)], setup(*sizes, batch_size=2))
    assert caught.value.key == key


@given(st.lists(st.integers(1, 30), min_size=1, max_size=200), st.integers(1, 12))
def test_bins_rise_with_length(lengths: list[int], bins: int) -> None:
    made = length_bins(lengths, bins)
    pairs = sorted(zip(lengths, made, strict=True))
    assert [bin for _, bin in pairs] == sorted(made)
    assert len(set(made)) <= bins
    by_length: dict[int, set[int]] = {}
    for length, bin in pairs:
        by_length.setdefault(length, set()).add(bin)
    assert all(len(found) == 1 for found in by_length.values())


def test_bins_of_different_lengths_are_equally_large() -> None:
    assert sorted(Counter(length_bins(list(range(100)), 5)).values()) == [20] * 5
