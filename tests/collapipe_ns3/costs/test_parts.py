"""Polynomials in the shape of a batch are exact, and survive JSON; messages are as on the air."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bridge.formats import TensorSize, Wire
from bridge.payload import bytes_on_air
from collapipe_ns3.costs.parts import Message, ModelCosts, PartCosts
from collapipe_ns3.costs.polynomial import (
    MONOMIALS,
    SEQUENCES,
    TARGETS,
    TOKENS,
    ZERO,
    Polynomial,
)
from collapipe_ns3.learning.batch import BatchShape
from collapipe_ns3.learning.protocol import Lengths
from collapipe_ns3.plan import Pipeline, Stage

INTEGERS = st.dictionaries(st.sampled_from(MONOMIALS), st.integers(-(10**12), 10**12))
POLYNOMIALS = st.builds(Polynomial.of, INTEGERS)
SHAPES = st.builds(BatchShape, *[st.integers(1, 10**4)] * 3)


@given(INTEGERS, SHAPES)
def test_values_are_exact(coefficients: dict[tuple[int, int, int], int], at: BatchShape) -> None:
    expected = sum(
        value * at.sequences**u * at.tokens**s * at.targets**t
        for (u, s, t), value in coefficients.items()
    )
    assert Polynomial.of(coefficients)(at) == expected


@given(POLYNOMIALS, POLYNOMIALS, st.integers(-(10**6), 10**6), SHAPES)
def test_sums_and_multiples_are_those_of_the_values(
    one: Polynomial, other: Polynomial, factor: int, at: BatchShape
) -> None:
    assert (one + other)(at) == one(at) + other(at)
    assert (one - other)(at) == one(at) - other(at)
    assert (factor * one + factor)(at) == factor * one(at) + factor
    assert one - one == ZERO
    assert Polynomial.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_products_and_fractions() -> None:
    n = TARGETS - 1
    assert (SEQUENCES * n * n)(BatchShape(3, 1, 6)) == 75
    pairs = Polynomial.of({(0, 2, 0): Fraction(1, 2), (0, 1, 0): Fraction(-1, 2)})
    assert pairs(BatchShape(1, 5, 1)) == 10
    assert pairs.to_json() == {"s": "-1/2", "s*s": "1/2"}
    assert Polynomial.from_json(pairs.to_json()) == pairs
    assert pairs + pairs == TOKENS * TOKENS - TOKENS
    assert str(ZERO) == "0"


def test_what_is_no_such_polynomial_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no term with u\*u"):
        _ = SEQUENCES * SEQUENCES
    with pytest.raises(ValueError, match=r"no term with s\*s\*t"):
        _ = TOKENS * TOKENS * TARGETS
    with pytest.raises(ValueError, match="integers as values of 1/2"):
        Polynomial.of({(0, 1, 0): Fraction(1, 2)})
    with pytest.raises(ValueError, match="unknown monomial x"):
        Polynomial.from_json({"x": 1})


@pytest.mark.parametrize("wire", get_args(Wire))
@given(u=st.integers(1, 5), s=st.integers(1, 7))
def test_a_message_is_as_large_as_its_tensors_on_the_air(wire: Wire, u: int, s: int) -> None:
    """An activation of width 6, a bias that doesn't grow with the sequences, and a mask."""
    message = Message(
        SEQUENCES * TOKENS * 6 + TOKENS * TOKENS * 2,
        SEQUENCES * TOKENS + TOKENS * 2,
        SEQUENCES * TOKENS,
    )
    tensors = [torch.empty(u, s, 6), torch.empty(1, 2, s, s), torch.empty(u, s, dtype=torch.bool)]
    assert message.bytes_on_air(wire, BatchShape(u, s, 1)) == bytes_on_air(tensors, wire)


def part(seed: int) -> PartCosts:
    """A part whose figures differ from those of all other seeds."""
    message = Message(SEQUENCES * TOKENS * 8 * seed, SEQUENCES * TOKENS * seed, SEQUENCES * seed)
    return PartCosts(
        SEQUENCES * TOKENS * seed,
        SEQUENCES * TARGETS * seed,
        SEQUENCES * TOKENS * TOKENS * seed + seed,
        message,
        Message(message.elements, message.rows),
        (TensorSize(25, 5),) * (10 * seed),
        seed,
    )


MODEL = ModelCosts(
    part(1), (part(2), part(3), part(3)), part(4), Message(other_bytes=TARGETS * 8), Lengths(9, 5)
)


def test_a_model_survives_json() -> None:
    assert ModelCosts.from_json(json.loads(json.dumps(MODEL.to_json()))) == MODEL
    assert (MODEL.encoder_blocks, MODEL.max_length, MODEL.width) == (3, 9, 8)
    assert MODEL.parameter_bytes == 13_000
    assert MODEL.longest_shape(2) == BatchShape(2, 9, 5)


def test_a_local_head_is_a_stage_before_the_last_part() -> None:
    model = replace(MODEL, local_head=part(5))
    pipeline = Pipeline((Stage("a", 0, 2),), 1, "gpipe")
    assert model.stages(pipeline) == [part(1), model.segment(0, 2), part(5), part(4)]
    assert model.parameter_bytes == 13_000 + 5000
    assert ModelCosts.from_json(json.loads(json.dumps(model.to_json()))) == model


def test_the_costs_of_a_stage_are_those_of_its_parts() -> None:
    pipeline = Pipeline((Stage("a", 0, 0), Stage("b", 1, 2)), 1, "gpipe")
    first, one, two, last = MODEL.stages(pipeline)
    assert (first, one, last) == (part(1), part(2), part(4))
    at = BatchShape(2, 3, 4)
    assert two.forward_flops(at) == 36
    assert two.backward_flops(at) == 48
    assert two.kept_bytes(at) == 2 * (54 + 3)
    assert (two.output, two.gradient) == (part(3).output, part(3).gradient)
    assert (two.parameter_bytes, len(two.trained), two.frozen_bytes) == (6000, 60, 6)


def test_a_stage_that_computes_again_keeps_the_inputs_of_its_blocks() -> None:
    one = MODEL.stages(Pipeline((Stage("a", 0, 2, recompute=True),), 1, "gpipe"))[1]
    at, plain = BatchShape(2, 3, 4), MODEL.segment(0, 2)
    assert one.forward_flops == plain.forward_flops
    assert one.backward_flops == plain.backward_flops + plain.forward_flops
    sent = [MODEL.first, *MODEL.blocks[:2]]
    assert one.kept_bytes(at) == sum(4 * part.gradient.elements(at) for part in sent)
    assert one.transient_bytes == MODEL.blocks[2].kept_bytes
    assert (one.output, one.parameter_bytes) == (plain.output, plain.parameter_bytes)
