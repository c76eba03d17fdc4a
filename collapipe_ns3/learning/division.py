"""Divisions of a data set over clusters: alike, or different in labels, sources or sizes.

`divide` gives each cluster the indices of its examples. No example is in two clusters, and every
draw is from a named stream of the seed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from collapipe_ns3.learning.protocol import BadTask, Setup
from collapipe_ns3.random_streams import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How a data set is divided over clusters; `divide` explains each.
Division = Literal["iid", "dirichlet", "source", "quantity"]


def divide(
    division: Division, groups: Sequence[Hashable], setup: Setup, dirichlet_alpha: float = 1.0
) -> list[list[int]]:
    """The indices of each cluster's examples, sorted.

    `groups` has an entry for each example, which "dirichlet" and "source" divide by: its label, a
    bin of its length (`length_bins`), or its source. A cluster gets as many examples as the study
    says (`setup.cluster_sizes`); clusters of which it says nothing share all other examples.

    - "iid": examples at random. Clusters without a given size get equally many (±1).
    - "dirichlet": as "iid" in sizes, but each cluster draws its mixture of groups from the
      Dirichlet distribution with the parameters α·p, where p are the groups' fractions of the data
      and α is `dirichlet_alpha` (Hsu et al. 2019, arXiv:1909.06335). For α → ∞ all mixtures are p;
      for α → 0 a cluster has a single group for as long as its examples last. The variance of the
      fraction of a group is p·(1 − p) / (α + 1). For K groups of the same size each parameter is
      α / K, so that data with more groups needs a larger α to be as evenly mixed. Where clusters
      want more examples of a group than there are, each request is granted in part, at random, and
      the rest is drawn from other groups by the cluster's mixture.
    - "source": whole sources. Clusters with a given size take sources in random order, the last
      one in part; its other examples go unused. All other sources go, the largest first, to the
      cluster that has the fewest examples.
    - "quantity": examples at random. Clusters without a given size get fractions of the data from
      the Dirichlet distribution with all parameters equal to `dirichlet_alpha`.

    Raises `BadTask` if there are fewer examples than the study gives to the clusters, or if a
    cluster gets fewer examples than a batch needs.
    """
    wanted = sum(size or 0 for size in setup.cluster_sizes)
    if wanted > len(groups):
        message = f"the clusters are given {wanted} examples, but the data has {len(groups)}"
        raise BadTask("", message)
    if division == "source":
        parts = _by_source(groups, setup)
        _check(division, [len(part) for part in parts], setup)
        return [sorted(part) for part in parts]
    sizes = _sizes(division, len(groups), setup, dirichlet_alpha)
    _check(division, sizes, setup)
    if division == "dirichlet":
        parts = _by_mixture(groups, sizes, setup.seed, dirichlet_alpha)
    else:
        order = stream(setup.seed, "division").permutation(len(groups)).tolist()
        parts = [order[first:end] for first, end in pairwise(accumulate(sizes, initial=0))]
    return [sorted(part) for part in parts]


def length_bins(lengths: Sequence[int], bins: int = 10) -> list[int]:
    """For each example the number of its bin: from the shortest, all of about as many examples.

    Examples of the same length are in the same bin, so that there can be fewer bins.
    """
    ordered = sorted(lengths)
    ends = (len(lengths) * bin // bins for bin in range(1, bins))
    last = sorted({ordered[end - 1] for end in ends if end})  # the longest of each bin
    return [bisect_left(last, length) for length in lengths]


def _check(division: Division, sizes: Sequence[int], setup: Setup) -> None:
    """Raises `BadTask` for a cluster with less than a batch."""
    for cluster, (size, given) in enumerate(zip(sizes, setup.cluster_sizes, strict=True)):
        if size >= setup.batch_size:
            continue
        if given is not None:
            message = f"cluster {cluster} is given {size} examples"
            raise BadTask("", f"{message}, but a batch needs {setup.batch_size}")
        key = "dirichlet_alpha" if division == "quantity" else "division"
        message = f"division {division} leaves {size} examples for cluster {cluster}"
        raise BadTask(key, f"{message}, but a batch needs {setup.batch_size}")


def _sizes(division: Division, examples: int, setup: Setup, alpha: float) -> list[int]:
    """The number of examples of each cluster."""
    rest = examples - sum(size or 0 for size in setup.cluster_sizes)
    free = [n for n, size in enumerate(setup.cluster_sizes) if size is None]
    sizes = [size or 0 for size in setup.cluster_sizes]
    if not free:
        if division == "quantity":
            raise BadTask("division", "quantity draws sizes, but the study gives all of them")
        return sizes
    fractions = np.full(len(free), 1 / len(free))
    if division == "quantity":
        fractions = stream(setup.seed, "division", "sizes").dirichlet([alpha] * len(free))
    ends = np.rint(np.cumsum(fractions) * rest).astype(int)
    for cluster, size in zip(free, np.diff(ends, prepend=0), strict=True):
        sizes[cluster] = int(size)
    return sizes


def _by_mixture(
    groups: Sequence[Hashable], sizes: Sequence[int], seed: int, alpha: float
) -> list[list[int]]:
    """Examples of each cluster by its mixture of groups."""
    members = [
        stream(seed, "division", "group", n).permutation(indices)
        for n, indices in enumerate(_members(groups))
    ]
    available = np.array([len(indices) for indices in members])
    random = stream(seed, "division", "mixtures")
    mixtures = random.dirichlet(np.maximum(alpha * available / len(groups), 1e-9), len(sizes))
    counts = _counts(mixtures, np.array(sizes), available, random)
    parts: list[list[int]] = [[] for _ in sizes]
    for indices, of_clusters in zip(members, counts.T, strict=True):
        ends = np.cumsum(of_clusters)
        for part, count, end in zip(parts, of_clusters, ends, strict=True):
            part += indices[end - count : end].tolist()
    return parts


def _counts(
    mixtures: NDArray[np.float64],
    sizes: NDArray[np.int64],
    available: NDArray[np.int64],
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """The examples [cluster, group] with these row sums, near the mixtures.

    All clusters ask for examples at the same time, so that none has the first choice. A group that
    is asked for too often is divided at random among the requests, and used up; so there are at
    most as many repetitions as groups.
    """
    counts = np.zeros(mixtures.shape, np.int64)
    while (needed := sizes - counts.sum(axis=1)).any():
        left = available - counts.sum(axis=0)
        requests = np.array(
            [
                random.multinomial(need, _among(mixture, left))
                for need, mixture in zip(needed, mixtures, strict=True)
            ]
        )
        for group in np.flatnonzero(requests.sum(axis=0)):
            asked = requests[:, group]
            if asked.sum() > left[group]:
                asked = random.multivariate_hypergeometric(asked, left[group])
            counts[:, group] += asked
    return counts


def _among(mixture: NDArray[np.float64], left: NDArray[np.int64]) -> NDArray[np.float64]:
    """A mixture of the groups that are left; their own where the mixture has none of them."""
    weights = np.where(left > 0, mixture, 0.0)
    if weights.sum() < 1e-300:  # mixtures of a small α have zeros
        weights = left.astype(np.float64)
    total: float = weights.sum()
    return weights / total


def _by_source(groups: Sequence[Hashable], setup: Setup) -> list[list[int]]:
    """Whole sources for each cluster."""
    sources = _members(groups)
    order = stream(setup.seed, "division").permutation(len(sources))
    waiting = [sources[n] for n in order]
    parts: list[list[int]] = [[] for _ in setup.cluster_sizes]
    for part, size in zip(parts, setup.cluster_sizes, strict=True):
        while size is not None and len(part) < size and waiting:
            part += waiting.pop()[: size - len(part)]
    free = [n for n, size in enumerate(setup.cluster_sizes) if size is None]
    for source in sorted(waiting, key=len, reverse=True) if free else []:
        parts[min(free, key=lambda n: len(parts[n]))] += source
    for cluster, (part, size) in enumerate(zip(parts, setup.cluster_sizes, strict=True)):
        if size is not None and len(part) < size:
            message = f"whole sources give cluster {cluster} {len(part)} of its {size} examples"
            raise BadTask("division", message)
    return parts


def _members(groups: Sequence[Hashable]) -> list[list[int]]:
    """The indices of each group's examples; groups are in the order of their first example."""
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return list(members.values())
