"""The divergence of formats: measured, expected, and the noise of gradients that it stands for."""

from __future__ import annotations

import math
from dataclasses import replace

import fleets
import numpy as np
import pytest

from bridge.formats import FP32, ParameterFormat
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.planning_problem import workload
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.outcome import ParameterEncoding
from collapipe_ns3.prediction.divergence import GradientNoise
from collapipe_ns3.prediction.format_noise import FormatNoise

INT8 = ParameterFormat("int8", difference=True)
SHARES = {0: 0.5, 1: 0.3, 2: 0.2}
NOISE = GradientNoise(variance=6.0, square=0.5, seen=True)


def work(local_steps: int = 4) -> Workload:
    seen = fleets.observation(np.random.default_rng(1), 3, batch_size=12, local_steps=local_steps)
    return workload(seen, Settings())


def encoding(cluster: int, direction: str, error: float, norm_sq: float) -> ParameterEncoding:
    return ParameterEncoding(
        cluster,
        0,
        direction,
        "block 0",
        str(INT8),
        False,
        1000,
        error / norm_sq,
        norm_sq,  # type: ignore[arg-type]
    )


def test_the_divergence_is_the_noise_of_gradients_that_errors_stand_for() -> None:
    """SGD on noise and a constant gradient: errors as large as its noise count as 1."""
    rng = np.random.default_rng(3)
    rate, steps, batch, size = 0.1, 4, 12, 20_000
    gradient = rng.normal(size=size)
    gradient *= math.sqrt(NOISE.square) / np.linalg.norm(gradient)
    deviation = math.sqrt(NOISE.variance / batch / size)
    updates = {n: np.zeros(size) for n in SHARES}
    noises = {n: np.zeros(size) for n in SHARES}
    for n in SHARES:
        for _ in range(steps):
            noise = rng.normal(scale=deviation, size=size)
            updates[n] -= rate * (gradient + noise)
            noises[n] -= rate * noise
    # Uplinks with errors that are as large as what the gradients' noise made of each update.
    sent = [
        encoding(n, "up", float(noises[n] @ noises[n]), float(updates[n] @ updates[n]))
        for n in SHARES
    ]
    known = FormatNoise().after(sent, 0.5)
    assert known.measured(sent, SHARES, work(steps), NOISE) == pytest.approx(1.0, rel=0.05)
    expected = known.divergence(FP32, [INT8] * 3, list(SHARES.values()), work(steps), NOISE)
    assert expected == pytest.approx(1.0, rel=0.05)


def test_the_downlinks_error_is_not_averaged_over_clusters() -> None:
    up = [encoding(n, "up", 0.01, 1.0) for n in SHARES]
    down = [encoding(n, "down", 0.01, 1.0) for n in SHARES]
    known = FormatNoise().after(up + down, 0.5)
    both = [known.measured(sent, SHARES, work(), NOISE) for sent in (up, down)]
    squares = sum(share**2 for share in SHARES.values())
    assert both[1] / both[0] == pytest.approx(1 / squares)
    shares = list(SHARES.values())
    assert known.divergence(INT8, [FP32] * 3, shares, work(), NOISE) == pytest.approx(both[1])
    assert known.divergence(FP32, [INT8] * 3, shares, work(), NOISE) == pytest.approx(both[0])
    assert known.divergence(FP32, [FP32] * 3, shares, work(), NOISE) == 0


def test_what_was_measured_replaces_what_was_expected_and_survives_a_checkpoint() -> None:
    before = FormatNoise()
    expected = before.error("up", INT8, work())
    assert 1e-6 < expected < 1e-3
    after = before.after([encoding(0, "up", 0.02, 1.0)], 0.5)
    assert after.error("up", INT8, work()) == pytest.approx(0.02)
    again = after.after([encoding(0, "up", 0.04, 1.0)], 0.5)
    assert again.error("up", INT8, work()) == pytest.approx(0.03)
    assert FormatNoise.from_json(again.to_json()) == again
    assert before.after([], 0.5) == before
    # Without differences the error is one of parameters, which are much larger than updates.
    assert before.error("up", replace(INT8, difference=False), work()) > 100 * expected


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("difference", [True, False])
def test_errors_count_where_no_differences_are_uploaded(direction: str, difference: bool) -> None:
    """Before ‖Δ‖² is known of uploads, errors are those that the choice of formats expected."""
    format = replace(INT8, difference=difference)
    expected = FormatNoise().error(direction, format, work())
    relative = expected if difference else expected / 1e4
    sent = [
        replace(encoding(n, direction, relative * 9.0, 9.0), format=str(format)) for n in SHARES
    ]
    known = FormatNoise().after(sent, 0.5)
    assert known.error(direction, format, work()) == pytest.approx(expected)
    down, ups = (FP32, [format] * 3) if direction == "up" else (format, [FP32] * 3)
    divergence = known.divergence(down, ups, list(SHARES.values()), work(), NOISE)
    assert known.measured(sent, SHARES, work(), NOISE) == pytest.approx(divergence)
    assert divergence > 0
