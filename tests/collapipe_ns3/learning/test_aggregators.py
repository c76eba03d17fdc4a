"""The updates of the papers by hand, and what holds of them for any numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from collapipe_ns3.learning.aggregation import (
    VARIATE,
    Aggregator,
    Before,
    FederatedAveraging,
    Parameters,
    PipelineFailure,
    PipelineResult,
    ServerFlops,
)
from collapipe_ns3.learning.aggregators import (
    FedAdam,
    FedAsync,
    FedNova,
    Scaffold,
    TrimmedMean,
    trimmed,
)
from collapipe_ns3.learning.local_term import LocalTerm, next_variate

Aggregators = Sequence[Aggregator]

NOTHING = Before({"w": torch.zeros(1)}, ("w",))


def w(*values: float) -> dict[str, Tensor]:
    return {"w": torch.tensor(values, dtype=torch.float64)}


def result(
    cluster: int,
    weight: float,
    *values: float,
    start: Parameters | None = None,
    age: int = 0,
    steps: int = 1,
    variate: float | None = None,
    pipeline: int = 0,
) -> PipelineResult:
    """What a pipeline has trained; by default it began with zeros."""
    return PipelineResult(
        cluster,
        pipeline,
        weight,
        w(*values),
        received=start or w(*(0.0 for _ in values)),
        age=age,
        rates=(1.0,) * steps,
        variate={} if variate is None else w(variate),
    )


def before(*values: float) -> Before:
    return Before(w(*values), ("w",))


def new(aggregator: Aggregator, was: Before, *results: PipelineResult) -> list[float]:
    tensor = aggregator.aggregate(was, results, ()).parameters["w"]
    return [float(value) for value in tensor]


def failure(cluster: int, weight: float) -> PipelineFailure:
    return PipelineFailure(cluster, 0, weight, "lost")


def test_fedadam_by_hand_over_two_rounds() -> None:
    fedadam = FedAdam(learning_rate=0.1, beta1=0.9, beta2=0.99, tau=0.01)
    # Round 1: Δ = 0.25·2 + 0.75·6 = 5; m = 0.1·5 = 0.5; v = 0.99·0.0001 + 0.01·25 = 0.250099.
    first = before(1.0)
    start = first.parameters
    of_first = [result(0, 0.25, 3.0, start=start), result(1, 0.75, 7.0, start=start)]
    got = fedadam.aggregate(first, of_first, ())
    assert float(got.state["mean"]["w"]) == pytest.approx(0.5)
    assert float(got.state["square"]["w"]) == pytest.approx(0.250099)
    one = 1 + 0.1 * 0.5 / (math.sqrt(0.250099) + 0.01)
    assert float(got.parameters["w"]) == pytest.approx(one)
    # Round 2: Δ = −1; m = 0.9·0.5 − 0.1 = 0.35; v = 0.99·0.250099 + 0.01 = 0.25759801.
    second = Before(got.parameters, ("w",), got.state)
    again = [result(0, 1.0, one - 1, start=got.parameters)]
    two = one + 0.1 * 0.35 / (math.sqrt(0.25759801) + 0.01)
    assert new(fedadam, second, *again) == pytest.approx([two])


@given(st.floats(-10, 10), st.floats(1e3, 1e6))
def test_fedadam_with_much_tau_is_a_step_along_the_update(update: float, tau: float) -> None:
    """With a large τ, √v is at most 1.1·τ, as v begins with τ², and there is no adaptivity."""
    fedadam = FedAdam(learning_rate=2 * tau, beta1=0.0, beta2=0.0, tau=tau)
    (got,) = new(fedadam, before(0.0), result(0, 1.0, update))
    assert got == pytest.approx(2 * update, rel=1e-2)


def test_moments_begin_without_a_correction_of_their_bias() -> None:
    """Reddi et al. have none: after one round m = (1 − β₁)·Δ, a tenth of it."""
    fedadam = FedAdam(learning_rate=1.0, beta1=0.9, beta2=0.99, tau=1e-3)
    state = fedadam.aggregate(before(0.0), [result(0, 1.0, 1.0)], ()).state
    assert float(state["mean"]["w"]) == pytest.approx(0.1)
    assert float(state["square"]["w"]) == pytest.approx(0.99 * 1e-6 + 0.01)


def test_fednova_by_hand() -> None:
    """Clusters with p = 0.25 and 0.75 have made 4 and 1 steps with the updates 8 and 4.

    τ_eff = 0.25·4 + 0.75·1 = 1.75, and w = 1 + 1.75·(0.25·8/4 + 0.75·4/1) = 1 + 1.75·3.5 = 7.125.
    """
    was = before(1.0)
    start = was.parameters
    results = [
        result(0, 0.25, 9.0, start=start, steps=4),
        result(1, 0.75, 5.0, start=start, steps=1),
    ]
    assert new(FedNova(), was, *results) == pytest.approx([7.125])
    weights = FedNova().aggregate(was, results, ()).weights
    assert weights == pytest.approx([1.75 * 0.25 / 4, 1.75 * 0.75])


def test_the_norm_of_fednova_with_momentum_is_the_papers() -> None:
    """a = [1 − ρ^τ, …, 1 − ρ]/(1 − ρ): with ρ = 0.5 and τ = 3 it is [1.75, 1.5, 1]."""
    assert FedNova(0.5).norm((1.0,) * 3) == pytest.approx(4.25)
    assert FedNova(0.5).norm((1.0,) * 3) == pytest.approx((3 - 0.5 * (1 - 0.5**3) / 0.5) / 0.5)
    assert FedNova(0.0).norm((0.5, 1.0, 1.0)) == pytest.approx(2.5)


@settings(max_examples=25)
@given(
    st.lists(st.floats(0.1, 1), min_size=1, max_size=5),
    st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=6),
    st.floats(0, 0.99),
)
def test_the_norm_is_the_weight_of_the_gradients_in_torchs_own_steps(
    rates: list[float], gradients: list[float], momentum: float
) -> None:
    """With the same gradient in each step, torch's SGD moves a parameter by ‖a‖₁·η·g."""
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], lr=1.0, momentum=momentum)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = 0.1 * rate
        parameter.grad = torch.tensor([gradients[0]], dtype=torch.float64)
        optimizer.step()
    moved = FedNova(momentum).norm(rates) * 0.1 * gradients[0]
    assert float(parameter.detach()) == pytest.approx(-moved, abs=1e-12)


many_results = st.lists(
    st.tuples(st.floats(0.01, 10), st.floats(-100, 100)), min_size=1, max_size=6
)


@given(many_results, st.integers(1, 20), st.floats(0, 0.99))
def test_fednova_with_equal_steps_is_federated_averaging(
    drawn: list[tuple[float, float]], steps: int, momentum: float
) -> None:
    was = before(0.5)
    results = [
        result(n, weight, value, start=was.parameters, steps=steps)
        for n, (weight, value) in enumerate(drawn)
    ]
    averaged = new(FederatedAveraging(), was, *results)
    assert new(FedNova(momentum), was, *results) == pytest.approx(averaged, abs=1e-9)


def test_scaffold_by_hand_with_a_cluster_that_is_missing() -> None:
    """Three clusters with the shares 0.5, 0.3 and 0.2, of which the last fails.

    w = 1 + 0.5/0.8·2 + 0.3/0.8·(−2) = 1.5, and c = 0.5·0.4 + 0.3·(−1) = −0.1. In the second round
    only the last is there: c = −0.1 + 0.2·3 = 0.5.
    """
    was = before(1.0)
    start = was.parameters
    results = [
        result(0, 0.5, 3.0, start=start, variate=0.4),
        result(1, 0.3, -1.0, start=start, variate=-1.0),
    ]
    got = Scaffold().aggregate(was, results, [failure(2, 0.2)])
    assert got.weights == pytest.approx([0.625, 0.375])
    assert float(got.parameters["w"]) == pytest.approx(1.5)
    assert float(got.state[VARIATE]["w"]) == pytest.approx(-0.1)
    second = Before(got.parameters, ("w",), got.state)
    late = result(2, 0.2, 2.5, start=got.parameters, variate=3.0)
    got = Scaffold(0.5).aggregate(second, [late], [failure(0, 0.5), failure(1, 0.3)])
    assert float(got.parameters["w"]) == pytest.approx(1.5 + 0.5 * 1.0)
    assert float(got.state[VARIATE]["w"]) == pytest.approx(0.5)


def test_equal_clusters_count_as_the_clients_of_the_paper() -> None:
    """N = 4 clients of which S = 2 take part: w moves by 1/|S|, and c by 1/N of the changes."""
    results = [result(0, 0.25, 1.0, variate=2.0), result(3, 0.25, 4.0, variate=-6.0)]
    got = Scaffold().aggregate(before(0.0), results, [failure(1, 0.25), failure(2, 0.25)])
    assert float(got.parameters["w"]) == pytest.approx((1 + 4) / 2)
    assert float(got.state[VARIATE]["w"]) == pytest.approx((2 - 6) / 4)


@given(
    st.lists(st.floats(0.1, 1), min_size=1, max_size=4),
    st.lists(st.lists(st.floats(-9, 9), min_size=4, max_size=4), min_size=1, max_size=5),
    st.data(),
)
def test_the_servers_variate_stays_the_mean_of_the_clusters(
    drawn: list[float], rounds: list[list[float]], data: st.DataObject
) -> None:
    shares = [each / math.fsum(drawn) for each in drawn]
    held, was = [0.0] * len(shares), before(0.0)
    for values in rounds:
        there = data.draw(st.sets(st.integers(0, len(shares) - 1), min_size=1))
        results = [
            result(n, shares[n], 0.0, start=was.parameters, variate=values[n])
            for n in sorted(there)
        ]
        for n in there:
            held[n] = values[n]
        got = Scaffold().aggregate(was, results, ())
        was = Before(got.parameters, ("w",), got.state)
        mean = math.fsum(s * c for s, c in zip(shares, held, strict=True))
        assert float(got.state[VARIATE]["w"]) == pytest.approx(mean, abs=1e-9)


def test_the_pipelines_of_a_cluster_have_a_variate_in_common_at_the_server() -> None:
    """A cluster with half the data: two pipelines with 0.3 and 0.2 of it all, then one with both.

    c₀ = 0.6·1 + 0.4·6 = 3 and c = 0.5·3 = 1.5; then c₀ = 5 and c = 1.5 + 0.5·(5 − 3) = 2.5.
    """
    two = [result(0, 0.3, 0.0, variate=1.0), result(0, 0.2, 0.0, variate=6.0, pipeline=1)]
    got = Scaffold().aggregate(before(0.0), two, ())
    assert float(got.state[VARIATE]["w"]) == pytest.approx(1.5)
    one = [result(0, 0.5, 0.0, variate=5.0)]
    got = Scaffold().aggregate(Before(got.parameters, ("w",), got.state), one, ())
    assert float(got.state[VARIATE]["w"]) == pytest.approx(2.5)


def test_what_is_left_of_a_cluster_stands_for_it() -> None:
    """One of two pipelines of a cluster with half the data fails: c is 0.5 times the other's."""
    got = Scaffold().aggregate(
        before(0.0), [result(0, 0.2, 0.0, variate=3.0)], [failure(0, 0.3), failure(1, 0.5)]
    )
    assert float(got.state[VARIATE]["w"]) == pytest.approx(1.5)


def test_fedasync_by_hand() -> None:
    """α = 0.6 and a = 0.5. A result of age 3 has s = 4^−0.5 = 0.5: w = 0.7·1 + 0.3·5 = 2.2."""
    fedasync = FedAsync(mixing=0.6, exponent=0.5)
    assert new(fedasync, before(1.0), result(0, 0.2, 5.0, age=3)) == pytest.approx([2.2])
    # With another of age 0 and equal weight: ω = 0.15 and 0.3, w = 0.55·1 + 0.15·5 + 0.3·(−2).
    both = [result(0, 0.2, 5.0, age=3), result(1, 0.2, -2.0)]
    assert new(fedasync, before(1.0), *both) == pytest.approx([0.7])
    assert fedasync.aggregate(before(1.0), both, ()).weights == pytest.approx([0.15, 0.3])


@pytest.mark.parametrize(("a", "expected"), [(0.0, 1.0), (0.5, 1 / 3), (1.0, 1 / 9), (2.0, 1 / 81)])
def test_freshness_falls_with_the_exponent(a: float, expected: float) -> None:
    assert FedAsync(1.0, a).freshness(8) == pytest.approx(expected)
    assert FedAsync(1.0, a).freshness(0) == 1


@given(many_results)
def test_fedasync_that_keeps_nothing_is_federated_averaging(
    drawn: list[tuple[float, float]],
) -> None:
    results = [result(n, weight, value) for n, (weight, value) in enumerate(drawn)]
    averaged = new(FederatedAveraging(), before(7.0), *results)
    assert new(FedAsync(1.0, 0.5), before(7.0), *results) == pytest.approx(averaged, abs=1e-9)


def test_the_trimmed_mean_by_hand() -> None:
    """Of five with β = 0.2, one goes at each end of each number: (2 + 3 + 4)/3, (1 + 2 + 6)/3."""
    values = [(1, 9), (2, 1), (3, 0), (4, 6), (1000, 2)]
    results = [result(n, 0.1 + n, *pair) for n, pair in enumerate(values)]
    assert new(TrimmedMean(0.2, 5), before(0.0, 0.0), *results) == pytest.approx([3.0, 3.0])


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=7), st.floats(-1e30, 1e30))
def test_one_outlier_does_not_move_the_trimmed_mean_out_of_the_others(
    values: list[float], outlier: float
) -> None:
    many = [*values, outlier]
    results = [result(n, 1 / len(many), value) for n, value in enumerate(many)]
    (got,) = new(TrimmedMean(1 / len(many), len(many)), before(0.0), *results)
    assert min(values) - 1e-9 <= got <= max(values) + 1e-9


def test_what_is_no_number_is_trimmed_too() -> None:
    results = [result(n, 0.25, value) for n, value in enumerate((1.0, math.nan, 2.0, 3.0))]
    assert new(TrimmedMean(0.25, 4), before(0.0), *results) == pytest.approx([2.5])


@given(many_results)
def test_without_trimming_it_is_the_mean_that_counts_clusters_alike(
    drawn: list[tuple[float, float]],
) -> None:
    results = [result(n, weight, value) for n, (weight, value) in enumerate(drawn)]
    mean = math.fsum(value for _, value in drawn) / len(drawn)
    got = TrimmedMean(0.0, len(drawn)).aggregate(before(0.0), results, ())
    assert float(got.parameters["w"]) == pytest.approx(mean, abs=1e-9)
    assert got.weights == pytest.approx([1 / len(drawn)] * len(drawn))


def test_failures_count_for_how_much_is_trimmed_as_far_as_something_is_left() -> None:
    """Of five clusters one is trimmed at each end, also if one fails; of two that are left none."""
    results = [result(n, 0.2, value) for n, value in enumerate((0.0, 1.0, 5.0, 99.0))]
    mean = TrimmedMean(0.2, 5)
    got = mean.aggregate(before(0.0), results, [failure(4, 0.2)])
    assert float(got.parameters["w"]) == pytest.approx(3.0)
    lost = [failure(n, 0.2) for n in (2, 3, 4)]
    got = mean.aggregate(before(0.0), results[:2], lost)
    assert float(got.parameters["w"]) == pytest.approx(0.5)


def test_the_pipelines_of_a_cluster_have_one_voice_in_the_trimmed_mean() -> None:
    """The first cluster's two pipelines are (0.1·4 + 0.3·8)/0.4 = 7, between 0 and 9."""
    results = [
        result(0, 0.1, 4.0),
        result(0, 0.3, 8.0, pipeline=1),
        result(1, 0.3, 0.0),
        result(2, 0.3, 9.0),
    ]
    got = TrimmedMean(0.34, 3).aggregate(before(0.0), results, ())
    assert float(got.parameters["w"]) == pytest.approx(7.0)
    assert got.weights == pytest.approx([1 / 12, 3 / 12, 1 / 3, 1 / 3])


def test_how_many_are_trimmed() -> None:
    assert [trimmed(0.1, n) for n in (9, 10, 19, 20)] == [0, 1, 1, 2]
    assert trimmed(0.29, 100) == 29


ALL: Aggregators = (
    FederatedAveraging(),
    FedAdam(0.1, 0.9, 0.99, 1e-3),
    FedNova(),
    Scaffold(),
    FedAsync(1.0, 0.5),
    TrimmedMean(0.0, 2),
)


@pytest.mark.parametrize("aggregator", ALL, ids=lambda each: type(each).__name__)
def test_buffers_are_averaged_and_counters_taken_from_the_first(aggregator: Aggregator) -> None:
    was = Before({**w(0.0), "mean": w(1.0)["w"], "count": torch.tensor(3)}, ("w",))
    results = [
        replace(one, parameters={**one.parameters, "mean": w(m)["w"], "count": torch.tensor(n)})
        for one, m, n in ((result(0, 0.5, 1.0), 4.0, 5), (result(1, 0.5, 1.0), 8.0, 6))
    ]
    got = aggregator.aggregate(was, results, ()).parameters
    assert set(got) == {"w", "mean", "count"}
    assert float(got["mean"]) == pytest.approx(6.0)
    assert int(got["count"]) == 5


@pytest.mark.parametrize("aggregator", ALL, ids=lambda each: type(each).__name__)
def test_weights_are_those_of_the_results_that_are_there(aggregator: Aggregator) -> None:
    """Equal results of 1 from zeros: a missing cluster changes nothing."""
    results = [result(n, weight, 1.0, variate=0.0) for n, weight in enumerate((0.2, 0.3))]
    got = aggregator.aggregate(before(0.0), results, [failure(2, 0.5)]).parameters["w"]
    whole = aggregator.aggregate(
        before(0.0), [*results, result(2, 0.5, 1.0, variate=0.0)], ()
    ).parameters["w"]
    assert float(got) == pytest.approx(float(whole))


@pytest.mark.parametrize("aggregator", ALL, ids=lambda each: type(each).__name__)
def test_what_is_given_is_not_changed(aggregator: Aggregator) -> None:
    was, given_results = before(1.0), [result(0, 1.0, 3.0, start=w(2.0), variate=1.0)]
    first = aggregator.aggregate(was, given_results, ())
    second = Before(w(1.0), ("w",), first.state)
    kept = {key: float(each["w"]) for key, each in first.state.items()}
    aggregator.aggregate(second, given_results, ())
    assert (float(was.parameters["w"]), float(given_results[0].parameters["w"])) == (1.0, 3.0)
    assert {key: float(each["w"]) for key, each in first.state.items()} == kept


def test_a_proximal_term_by_hand() -> None:
    """g = 1, w = 5, w₀ = 2, μ = 0.1: 1 + 0.1·3."""
    one = LocalTerm(mu=0.1).changed(torch.tensor(1.0), torch.tensor(5.0), torch.tensor(2.0), None)
    assert float(one) == pytest.approx(1.3)


def test_the_next_variate_by_hand() -> None:
    """Option II: cᵢ = 0.5, c = 0.2, w₀ = 1, w = 0.4, K·η = 2: 0.5 − 0.2 + 0.6/2 = 0.6."""
    correction = torch.tensor(0.2 - 0.5)
    got = next_variate(torch.tensor(0.4), torch.tensor(1.0), correction, 2.0)
    assert float(got) == pytest.approx(0.6)


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=6),
    st.floats(-1, 1),
    st.floats(0.01, 1),
)
def test_the_next_variate_is_the_mean_of_the_gradients(
    gradients: list[float], correction: float, rate: float
) -> None:
    """Whatever the correction: steps are along g + (c − cᵢ)."""
    term, start = LocalTerm(variates=True), torch.tensor(0.7, dtype=torch.float64)
    c = torch.tensor(correction, dtype=torch.float64)
    at = start
    for g in gradients:
        at = at - rate * term.changed(torch.tensor(g, dtype=torch.float64), at, start, c)
    got = next_variate(at, start, c, rate * len(gradients))
    assert float(got) == pytest.approx(sum(gradients) / len(gradients), abs=1e-9)


def test_the_costs_of_the_terms() -> None:
    none, proximal, variates = LocalTerm(), LocalTerm(mu=0.1), LocalTerm(variates=True)
    assert [
        (each.flops, each.held, each.kept, each.sent) for each in (none, proximal, variates)
    ] == [
        (0, 0, 0, 1),
        (3, 1, 0, 1),
        (6, 2, 1, 2),
    ]
    assert ServerFlops(per_result=3, once=12).of(2, 10) == 180
