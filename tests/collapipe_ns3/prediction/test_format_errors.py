"""Errors of formats by closed forms, against those of the codecs and of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.formats import FP32, ParameterFormat, TensorSize, Wire
from bridge.wire import codec
from collapipe_ns3 import Study
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.prediction.format_errors import (
    Encodable,
    bound_term,
    encoding_variance,
    expected_error,
    largest_error,
)
from collapipe_ns3.run.planning import Planning

FORMATS = [
    ParameterFormat("fp16", difference=True),
    ParameterFormat("bf16", difference=True),
    ParameterFormat("int8", difference=True),
    ParameterFormat("fp32", difference=True, largest=0.05),
    ParameterFormat("int8", difference=True, largest=0.3),
]


def measured(format: ParameterFormat, tensors: list[torch.Tensor], draws: int = 20) -> float:
    """The mean ‖e‖² of the codec."""
    by, generator, error = codec(format), torch.Generator().manual_seed(1), 0.0
    for _ in range(draws):
        for tensor in tensors:
            arrived = by.decode(by.encode(tensor, generator))
            error += float((arrived - tensor).double().square().sum())
    return error / draws


def normal(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_the_expected_error_is_that_of_normal_tensors(format: ParameterFormat) -> None:
    tensors = [normal((64, 200), 1), normal((500, 64), 2)]
    norm_sq = sum(float(each.double().square().sum()) for each in tensors)
    sizes = [TensorSize.of(each.shape) for each in tensors]
    expected = expected_error(format, sizes).of(norm_sq)
    assert measured(format, tensors) == pytest.approx(expected, rel=0.1)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(FORMATS),
    st.lists(st.integers(1, 30), min_size=1, max_size=2).map(tuple),
    st.floats(-6, 1),
    st.floats(0.5, 4),
    st.integers(0, 99),
)
def test_no_error_is_above_the_bound(
    format: ParameterFormat, shape: tuple[int, ...], scale: float, power: float, seed: int
) -> None:
    """Of any scale, and with tails that grow heavier with the power; the mean over 20 draws."""
    tensor = normal(shape, seed)
    tensor = tensor.sign() * tensor.abs() ** power * 10**scale
    norm_sq = float(tensor.double().square().sum())
    bound = largest_error(format, [TensorSize.of(shape)]).of(norm_sq)
    assert measured(format, [tensor]) <= bound * 1.5 + 1e-11 * norm_sq


def test_small_differences_underflow_in_fp16() -> None:
    tensors = [normal((300, 100), 4) * 1e-6]
    norm_sq = float(tensors[0].double().square().sum())
    format, sizes = ParameterFormat("fp16"), [TensorSize(30_000, 300)]
    error = expected_error(format, sizes)
    assert measured(format, tensors, 1) == pytest.approx(error.of(norm_sq), rel=0.1)
    assert error.absolute > 100 * error.relative * norm_sq


def test_the_error_of_a_downlink_does_not_average_down() -> None:
    """Against simulated averages of four clusters' models."""
    format, sizes = FORMATS[2], (TensorSize(64 * 50, 64),)
    x = [normal((64, 50), seed) for seed in range(4)]
    norms = [float(each.square().sum()) for each in x]
    up = encoding_variance(format, [Encodable(0.25, norm, sizes) for norm in norms])
    down = encoding_variance(format, [Encodable(1.0, norms[0], sizes)])
    by, generator, draws = codec(format), torch.Generator().manual_seed(1), 100
    found_up = found_down = 0.0
    for _ in range(draws):
        errors = [by.decode(by.encode(each, generator)) - each for each in x]
        found_up += float((sum(errors) / 4).square().sum()) / draws
        found_down += float(errors[0].square().sum()) / draws
    assert up == pytest.approx(found_up, rel=0.1)
    assert down == pytest.approx(found_down, rel=0.1)
    assert encoding_variance(FP32, [Encodable(1.0, norms[0], sizes)]) == 0


def test_the_term_of_the_bound() -> None:
    assert bound_term(3.0, smoothness=2.0, learning_rate=0.1, local_steps=4) == pytest.approx(30.0)


def test_nothing_has_no_error() -> None:
    for format in FORMATS:
        assert expected_error(format, []).of(1.0) == largest_error(format, []).of(1.0) == 0
        assert expected_error(format, [TensorSize(0, 0)]).of(1.0) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("down", "up"), [("int8", "int8"), ("bf16", "fp16")])
def test_the_distortion_of_a_run_is_within_the_bound_and_of_the_expected_order(
    down: Wire, up: Wire, tmp_path: Path
) -> None:
    """Of every unit in three rounds of `quickstart`, and of a round's variance as a whole.

    Rows of trained parameters are less even than normal ones, so that the largest number of a row,
    which sets the step of int8, is larger for the same norm.
    """
    exchange = {
        "multicast": False,
        "chunk_bytes": None,
        "down": {"numbers": down, "difference": True},
        "up": {"numbers": up, "difference": True},
    }
    study = Study.load("quickstart").with_(set={"training.exchange": exchange})
    result = study.run(rounds=3, scheme="pipeline", seed=1, out=tmp_path / "run")
    sizes = sizes_of_units(Planning(study.config).model_costs)
    formats = {"down": ParameterFormat(down, True), "up": ParameterFormat(up, True)}
    rows = result.encodings
    for row in rows[rows["distortion"] > 0].itertuples():
        format, of_unit = formats[row.direction], sizes[row.unit]
        error = row.distortion * row.norm_sq
        assert error <= 1.5 * largest_error(format, of_unit).of(row.norm_sq), row
        assert 0.1 < error / expected_error(format, of_unit).of(row.norm_sq) < 10, row
    last = rows[(rows["round"] == 2) & (rows["direction"] == "up")]
    weights = result.pipelines.set_index(["round", "cluster"])["weight"][2]
    found = sum(weights[r.cluster] ** 2 * r.distortion * r.norm_sq for r in last.itertuples())
    parts = [Encodable(weights[r.cluster], r.norm_sq, sizes[r.unit]) for r in last.itertuples()]
    assert 0.3 < found / encoding_variance(formats["up"], parts) < 3


def sizes_of_units(model: ModelCosts) -> dict[str, tuple[TensorSize, ...]]:
    blocks = {f"block {n}": block.trained for n, block in enumerate(model.blocks)}
    return {"embedding": model.first.trained, **blocks}
