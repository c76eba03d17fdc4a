"""Γ against simulated gradients, and its estimators against what they estimate."""

from __future__ import annotations

import lab
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bridge.wire import codec, distortion
from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.prediction.divergence import GradientNoise, loss_epsilon, wire_epsilon


@given(st.sampled_from([16, 64, 200, 768]), st.sampled_from(["fp32", "fp16", "bf16", "int8"]))
def test_epsilon_of_a_wire_format_is_the_error_of_its_codec(width: int, wire: str) -> None:
    sent = torch.randn(2000, width, generator=torch.Generator().manual_seed(width))
    generator = torch.Generator().manual_seed(0)
    wires = codec(wire)  # type: ignore[arg-type]
    measured = distortion(sent, wires.decode(wires.encode(sent, generator)))
    assert wire_epsilon(wire, width) == pytest.approx(measured, rel=0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", [0.01, 0.2, 0.5])
def test_epsilon_of_a_loss_is_the_error_of_zeroing_and_scaling(loss: float) -> None:
    rng = np.random.default_rng(1)
    sent = rng.normal(size=200_000)
    received = sent * (rng.random(sent.shape) > loss) / (1 - loss)
    measured = ((received - sent) ** 2).sum() / (sent**2).sum()
    assert loss_epsilon(loss) == pytest.approx(measured, rel=0.03)


@pytest.mark.parametrize("micro_batches", [1, 4, 12])
@pytest.mark.parametrize("hops", [0, 4])
def test_gamma_is_the_second_moment_of_simulated_gradients(micro_batches: int, hops: int) -> None:
    """Noisy gradients of sequences, averaged in micro-batches that are distorted over some hops."""
    rng = np.random.default_rng(3)
    size, batch, epsilon, runs = 40, 12, 0.05, 4000
    mean = rng.normal(size=size) * 0.5
    noise = rng.normal(size=(runs, micro_batches, batch // micro_batches, size))
    gradients = (mean + noise).mean(2)
    norms = np.linalg.norm(gradients, axis=-1, keepdims=True)
    error = np.zeros_like(gradients)
    for _ in range(hops):
        way = rng.normal(size=gradients.shape)
        way /= np.linalg.norm(way, axis=-1, keepdims=True)
        error += np.sqrt(epsilon) * norms * way
    received = (gradients + error).mean(1)
    measured = ((received - mean) ** 2).sum(-1).mean()
    known = GradientNoise(variance=float(size), square=float((mean**2).sum()), seen=True)
    gamma = known.divergence(batch, micro_batches, hops * epsilon) * size / batch
    assert gamma == pytest.approx(measured, rel=0.05)


def test_gamma_rises_with_hops_and_falls_with_micro_batches() -> None:
    noise = GradientNoise(variance=1.0, square=1.0, seen=True)
    assert noise.divergence(64, 8, 0.0) == 1.0
    assert noise.divergence(64, 8, 0.2) > noise.divergence(64, 8, 0.1)
    assert noise.divergence(64, 4, 0.1) > noise.divergence(64, 8, 0.1)


def test_noise_is_estimated_without_bias() -> None:
    rng = np.random.default_rng(5)
    size, u, m, square, variance = 30, 4, 8, 9.0, 60.0
    mean = np.full(size, np.sqrt(square / size))
    estimate = GradientNoise()
    totals = []
    for _ in range(3000):
        each = mean + rng.normal(size=(m, size)) * np.sqrt(variance / size / u)
        prefixes = np.cumsum(each, 0) / np.arange(1, m + 1)[:, None]
        single = GradientNoise().after((prefixes**2).sum(-1), u, 0.1)
        totals.append((single.variance, single.square))
        estimate = estimate.after((prefixes**2).sum(-1), u, 0.01)
    assert np.mean(totals, 0) == pytest.approx([variance, square], rel=0.05)
    assert estimate.variance == pytest.approx(variance, rel=0.3)
    assert estimate.square == pytest.approx(square, rel=0.3)


def test_noise_is_estimated_of_a_real_model() -> None:
    """Against the variance of the gradients of all single sequences of the same batch."""
    model, batch = lab.model(), next(lab.batches(0, 0, size=48))

    def gradient(part: Batch) -> torch.Tensor:
        model.zero_grad()
        model.uncut_loss(part).backward()  # type: ignore[no-untyped-call]
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    singles = torch.stack([gradient(part) for part in batch.split([1] * 48)])
    variance = float((singles - singles.mean(0)).square().sum() / 47)
    square = float(singles.mean(0).square().sum()) - variance / 48
    found = []
    for shift in range(24):
        shuffled = singles[torch.randperm(48, generator=torch.Generator().manual_seed(shift))]
        parts = shuffled.view(8, 6, -1).mean(1)
        prefixes = parts.cumsum(0) / torch.arange(1, 9).unsqueeze(1)
        noise = GradientNoise().after(prefixes.square().sum(-1).tolist(), 6, 1.0)
        found.append((noise.variance, noise.square))
    mean = np.mean(found, 0)
    assert mean[0] == pytest.approx(variance, rel=0.25)
    assert mean[1] == pytest.approx(square, rel=0.25)


def test_a_step_of_one_micro_batch_changes_no_estimate() -> None:
    noise = GradientNoise(2.0, 3.0, True)
    assert noise.after([5.0], 4, 0.5) is noise
    assert GradientNoise.from_json(noise.to_json()) == noise
