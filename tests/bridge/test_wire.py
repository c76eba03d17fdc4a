"""Wire formats: how large, how near, and without bias where they round by chance."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bridge.formats import Wire, row_bytes
from bridge.payload import size_bytes
from bridge.wire import decode, distortion, encode

FORMATS: list[Wire] = ["fp32", "fp16", "bf16", "int8"]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.sampled_from(FORMATS), st.integers(1, 5), st.integers(1, 70))
def test_bytes_on_air_are_those_of_the_encoded_tensors(wire: Wire, rows: int, width: int) -> None:
    encoded = encode(normal(rows, width), wire)
    assert size_bytes(encoded.tensors) == rows * row_bytes(wire, width)
    assert decode(encoded).shape == (rows, width)


def test_fp32_changes_nothing() -> None:
    sent = normal(4, 9)
    assert torch.equal(decode(encode(sent, "fp32")), sent)
    assert distortion(sent, sent) == 0.0


def test_int8_errs_by_less_than_a_step() -> None:
    sent = normal(50, 64) * torch.logspace(-20, 20, 50).unsqueeze(1)
    received = decode(encode(sent, "int8"))
    steps = sent.abs().amax(-1, keepdim=True) / 127
    assert ((received - sent).abs() <= steps * 1.001).all()


def test_int8_has_no_bias() -> None:
    """The mean over many roundings comes as near as their number allows: 5 deviations.

    That of roundings to the nearest does not, which shows that the test would find them.
    """
    sent, draws = normal(8, 16), 1000
    step = sent.abs().amax(-1, keepdim=True) / 127
    generator = torch.Generator().manual_seed(1)

    def bias(mean: torch.Tensor) -> float:
        """The largest deviation of the mean from what was sent, in standard deviations."""
        return float(((mean - sent).abs() / (step / 2 / draws**0.5)).max())

    total = sum(decode(encode(sent, "int8", generator)) for _ in range(draws))
    assert bias(total / draws) < 5 < bias((sent / step).round() * step)
    assert distortion(sent, decode(encode(sent, "int8", generator))) > 0


def test_zeros_stay_zeros() -> None:
    sent = torch.zeros(3, 5)
    for wire in FORMATS:
        assert torch.equal(decode(encode(sent, wire)), sent)


def test_a_generator_makes_it_repeat() -> None:
    sent = normal(4, 30)
    one, other = (decode(encode(sent, "int8", torch.Generator().manual_seed(7))) for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("wire", FORMATS)
def test_every_format_keeps_what_it_is_given_nearly(wire: Wire) -> None:
    sent = normal(100, 64)
    assert distortion(sent, decode(encode(sent, wire))) < 1e-4
