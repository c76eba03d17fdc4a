"""Wire formats: how large, how near, and without bias where they round by chance."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bridge.formats import ParameterFormat, TensorSize, Wire, row_bytes
from bridge.payload import size_bytes
from bridge.wire import codec, distortion

FORMATS: list[Wire] = ["fp32", "fp16", "bf16", "int8"]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def passed(
    sent: torch.Tensor, wire: Wire | ParameterFormat, generator: torch.Generator | None = None
) -> torch.Tensor:
    """What arrives of a tensor."""
    by = codec(wire)
    return by.decode(by.encode(sent, generator))


@given(st.sampled_from(FORMATS), st.integers(1, 5), st.integers(1, 70))
def test_bytes_on_air_are_those_of_the_encoded_tensors(wire: Wire, rows: int, width: int) -> None:
    by = codec(wire)
    encoded = by.encode(normal(rows, width))
    assert size_bytes(encoded.tensors) == rows * row_bytes(wire, width)
    assert by.decode(encoded).shape == (rows, width)


def test_fp32_changes_nothing() -> None:
    sent = normal(4, 9)
    assert torch.equal(passed(sent, "fp32"), sent)
    assert distortion(sent, sent) == 0.0


def test_int8_errs_by_less_than_a_step() -> None:
    sent = normal(50, 64) * torch.logspace(-20, 20, 50).unsqueeze(1)
    received = passed(sent, "int8")
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

    total = sum(passed(sent, "int8", generator) for _ in range(draws))
    assert bias(total / draws) < 5 < bias((sent / step).round() * step)
    assert distortion(sent, passed(sent, "int8", generator)) > 0


def test_zeros_stay_zeros() -> None:
    sent = torch.zeros(3, 5)
    for wire in FORMATS:
        assert torch.equal(passed(sent, wire), sent)


def test_a_generator_makes_it_repeat() -> None:
    sent = normal(4, 30)
    one, other = (passed(sent, "int8", torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("wire", FORMATS)
def test_every_format_keeps_what_it_is_given_nearly(wire: Wire) -> None:
    sent = normal(100, 64)
    assert distortion(sent, passed(sent, wire)) < 1e-4


SHAPES = st.lists(st.integers(1, 7), max_size=3).map(tuple)
PARAMETER_FORMATS = st.builds(
    ParameterFormat,
    st.sampled_from(FORMATS),
    st.just(True),
    st.none() | st.floats(1e-3, 1.0),
)


@given(SHAPES, PARAMETER_FORMATS)
def test_parameters_take_the_bytes_that_their_shape_and_format_say(
    shape: tuple[int, ...], format: ParameterFormat
) -> None:
    by = codec(format)
    encoded = by.encode(normal(*shape))
    assert size_bytes(encoded.tensors) == format.tensor_bytes(TensorSize.of(shape))
    assert by.decode(encoded).shape == shape


def test_a_tensor_of_one_axis_or_none_is_a_row() -> None:
    assert TensorSize.of((3, 4, 5)) == (60, 12)
    assert TensorSize.of((7,)) == (7, 1)
    assert TensorSize.of(()) == (1, 1)
    assert TensorSize.of((3, 0)) == (0, 0)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.floats(0.01, 1.0))
def test_the_largest_travel_and_of_equal_ones_the_first(values: list[int], fraction: float) -> None:
    """Against a selection of numbers one by one."""
    sent = torch.tensor(values, dtype=torch.float32)
    count = math.ceil(round(fraction * len(values), 6))
    kept = sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))[:count]
    expected = [value if i in kept else 0 for i, value in enumerate(values)]
    assert passed(sent, ParameterFormat("fp32", True, fraction)).tolist() == expected


def test_top_k_of_a_diverged_tensor_has_its_size_too() -> None:
    sent = torch.tensor([1.0, math.nan, -math.inf, 5.0, math.nan, math.inf])
    format = ParameterFormat("fp32", True, 0.5)
    encoded = codec(format).encode(sent)
    assert size_bytes(encoded.tensors) == format.tensor_bytes(TensorSize(6))
    assert encoded.tensors[0].tolist() == [1, 2, 4]


def test_a_tenth_of_thirty_numbers_is_three() -> None:
    assert ParameterFormat("fp32", True, 0.1).tensor_bytes(TensorSize(30)) == 3 * (4 + 4)


def test_top_k_in_int8_has_one_scale() -> None:
    sent = normal(40, 50)
    format = ParameterFormat("int8", True, 0.05)
    received = passed(sent, format, torch.Generator().manual_seed(3))
    exact = passed(sent, ParameterFormat("fp32", True, 0.05))
    assert ((received - exact).abs() <= sent.abs().max() / 127 * 1.001).all()
    assert int((exact != 0).sum()) == 100
    assert format.tensor_bytes(TensorSize(2000, 40)) == 4 * 100 + 4 + 100


@pytest.mark.parametrize(
    ("format", "wrong"),
    [
        (ParameterFormat("int4"), "expected numbers in fp32, fp16, bf16, int8, not 'int4'"),  # type: ignore[arg-type]
        (ParameterFormat("int8", True, 0.0), "in (0, 1], not 0"),
        (ParameterFormat("int8", False, 0.1), "expected differences"),
        (ParameterFormat("int8", True, 0.1), None),
        (ParameterFormat(), None),
    ],
)
def test_formats_that_make_no_sense_are_named(format: ParameterFormat, wrong: str | None) -> None:
    assert wrong is None or wrong in (format.problem or "")
    assert (format.problem is None) == (wrong is None)
