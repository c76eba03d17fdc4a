"""Tensors as bytes on air, against a byte-by-byte reckoning."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bridge.formats import ParameterFormat, Wire
from bridge.payload import Packed, bytes_on_air, pack, receive, size_bytes, union
from bridge.wire import codec


def test_size_is_that_of_the_elements() -> None:
    tensors = [torch.zeros(3, 5), torch.zeros(7, dtype=torch.bool), torch.zeros(2).long()]
    assert size_bytes(tensors) == 3 * 5 * 4 + 7 + 2 * 8


def test_without_loss_the_very_tensors_are_handed_on() -> None:
    sent = [torch.randn(4), torch.arange(3)]
    received = receive(pack(sent), [])
    assert all(got is gave for got, gave in zip(received.tensors, sent, strict=True))
    assert received.distortion == 0.0


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=4))
def test_an_element_is_missing_where_any_of_its_bytes_is(ranges: list[tuple[int, int]]) -> None:
    sent = [
        torch.arange(1.0, 7.0).view(2, 3),
        torch.ones(8, dtype=torch.bool),
        torch.ones(3).long(),
    ]
    lost = [(start, start + length) for start, length in ranges]
    gone = {byte for start, end in lost for byte in range(start, end)}

    offset = 0
    error = power = 0.0
    expected = []
    for tensor in sent:
        width, count = tensor.element_size(), tensor.numel()
        missing = [
            bool(gone & set(range(offset + i * width, offset + (i + 1) * width)))
            for i in range(count)
        ]
        offset += count * width
        share = sum(missing) / count
        scale = 1 / (1 - share) if tensor.is_floating_point() and share < 1 else 1
        values = [
            0 if miss else value * scale
            for miss, value in zip(missing, tensor.flatten().tolist(), strict=True)
        ]
        expected.append(torch.tensor(values, dtype=tensor.dtype).view_as(tensor))
        if tensor.is_floating_point():
            error += sum(
                (a - b) ** 2 for a, b in zip(values, tensor.flatten().tolist(), strict=True)
            )
            power += float(tensor.square().sum())

    received = receive(pack(sent), lost)
    for got, want in zip(received.tensors, expected, strict=True):
        torch.testing.assert_close(got, want)
    assert received.distortion == pytest.approx(error / power, rel=1e-5)


def test_the_formats_take_as_many_bytes_as_they_say() -> None:
    tensors = [torch.randn(4, 6), torch.zeros(5, dtype=torch.bool)]
    sizes: dict[Wire, int] = {"fp32": 96, "fp16": 48, "bf16": 48, "int8": 24 + 4 * 4}
    for wire, size in sizes.items():
        assert bytes_on_air(tensors, wire) == size + 5
        assert size_bytes(pack(tensors, wire).tensors) == size + 5


def test_in_int8_a_row_goes_with_its_scale_and_an_element_with_its_byte() -> None:
    sent = torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])
    packed = pack([sent], "int8", torch.Generator().manual_seed(1))
    whole = receive(packed, []).tensors[0]
    torch.testing.assert_close(whole, sent, atol=6 / 127, rtol=0)
    (first_row_gone,) = receive(packed, [(2, 3)]).tensors  # a byte of the first scale
    torch.testing.assert_close(first_row_gone, whole * torch.tensor([[0.0], [2.0]]))
    (last_gone,) = receive(packed, [(13, 14)]).tensors  # after two scales and five values
    expected = whole * 6 / 5
    expected[1, 2] = 0
    torch.testing.assert_close(last_gone, expected)


byte_ranges = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 9)).map(lambda r: (r[0], r[0] + r[1])), max_size=5
)


@given(byte_ranges, byte_ranges)
def test_a_union_of_ranges_has_the_bytes_of_both_in_order(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    merged = union(one, other)
    assert {b for r in merged for b in range(*r)} == {b for r in one + other for b in range(*r)}
    assert all(a[1] < b[0] for a, b in pairwise(merged))


def test_random_losses_keep_the_mean() -> None:
    generator = torch.Generator().manual_seed(1)
    sent = torch.rand(100_000, generator=generator) + 1
    lost = [(4 * i, 4 * i + 4) for i in torch.randperm(100_000, generator=generator)[:30_000]]
    received = receive(pack([sent]), [(int(start), int(end)) for start, end in lost])
    assert float(received.tensors[0].mean()) == pytest.approx(float(sent.mean()), rel=0.02)


def test_a_lost_position_or_value_of_top_k_is_zero_and_the_others_make_up_for_it() -> None:
    sent = torch.tensor([[0.0, 5.0, 1.0], [-4.0, 0.0, 3.0]])
    by = codec(ParameterFormat("fp32", True, 2 / 3))
    packed = Packed((sent,), ((by, by.encode(sent)),))  # positions 1, 2, 3, 5, then their values
    (received,) = receive(packed, [(4, 5), (31, 32)]).tensors  # of the second, and of the last
    assert received.tolist() == [[0.0, 10.0, 0.0], [-8.0, 0.0, 0.0]]
