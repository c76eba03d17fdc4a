"""The costs of parts from a few measured shapes are those at all other shapes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_specs import specs
from torch import Tensor, nn

from collapipe_ns3.costs.measured import Bench, _kind, measure_parts
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.learning.batch import Batch, BatchShape, Payload
from collapipe_ns3.learning.models import build_encoder, build_translator, encoder, transformer
from collapipe_ns3.learning.protocol import Lengths
from collapipe_ns3.learning.spec import ModelSpec
from collapipe_ns3.learning.split_model import SplitModel

SPECS = specs(st.integers(4, 30))


def batch(labels: str) -> Batch:
    """Two sequences of six tokens, with labels of this kind."""
    tokens = torch.arange(3, 15).view(2, 6) % 5
    made = {"decoder": tokens[:, :5], "token": tokens % 2, "sequence": tokens[:, 0] % 2}[labels]
    return Batch((tokens,), (tokens == 0,), (made,), torch.full((2,), 6), labels == "token")


def agrees_at(costs: ModelCosts, model: SplitModel, sample: Batch, shape: BatchShape) -> None:
    """Whether the polynomials give what is measured at a shape."""
    figures = Bench(model, sample, "float32").run(shape)
    for part, measured in zip([costs.first, *costs.blocks, costs.last], figures, strict=True):
        assert part.forward_flops(shape) == measured.forward_flops
        assert part.backward_flops(shape) == measured.backward_flops
        assert part.kept_bytes(shape) == measured.kept_bytes
        assert part.output.elements(shape) == measured.elements


@settings(max_examples=6, deadline=None)
@given(SPECS, st.integers(2, 10**4), st.integers(2, 10**3), st.integers(2, 10**3))
def test_the_built_in_models_cost_what_their_closed_forms_say(
    spec: ModelSpec, u: int, s: int, t: int
) -> None:
    """At any shape, though none is measured with more than 5 sequences of 21 tokens."""
    model = (transformer.build if spec.head == "decoder" else encoder.build)(spec, 0)
    model.add_local_head(seed=0)
    expected = closed_form(spec, local_head=True)
    made = measure_parts(model, batch(spec.head), expected.longest)
    targets = {"decoder": t, "token": s, "sequence": 1}[spec.head]
    shape = BatchShape(u, s, targets)
    for one, other in zip(made.every_part, expected.every_part, strict=True):
        assert one.forward_flops(shape) == other.forward_flops(shape)
        assert one.backward_flops(shape) == other.backward_flops(shape)
        assert one.kept_bytes(shape) == other.kept_bytes(shape)
        for wire in ("fp32", "int8"):
            for message in ("output", "gradient"):
                sizes = (getattr(p, message).bytes_on_air(wire, shape) for p in (one, other))
                assert next(sizes) == next(sizes)
        assert (one.trained, one.frozen_bytes) == (other.trained, 0)
    assert made.labels.bytes_on_air("fp32", shape) == expected.labels.bytes_on_air("fp32", shape)
    assert made.longest == expected.longest
    assert (made.width, made.encoder_blocks) == (spec.width, spec.encoder_blocks)


SIZES = {"width": 32, "heads": 4, "feed_forward": 64, "encoder_blocks": 3, "decoder_blocks": 1}


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "electra"])
def test_encoders_of_hugging_face_are_measured_exactly(name: str, dropout: float) -> None:
    pytest.importorskip("transformers")
    model = build_encoder(
        {"name": name, **SIZES, "dropout": dropout},
        vocabulary=20,
        longest=24,
        classes=2,
        head="token",
        seed=1,
    )
    costs = measure_parts(model, batch("token"), Lengths(24, 24))
    agrees_at(costs, model, batch("token"), BatchShape(9, 19, 19))
    assert len({id(block) for block in costs.blocks}) == 1
    assert len(set(Bench(model, batch("token"), "float32").kinds)) == 3  # equal blocks once


@pytest.mark.parametrize("name", ["bart", "marian"])
def test_translators_of_hugging_face_are_measured_exactly(name: str) -> None:
    pytest.importorskip("transformers")
    sizes = {"source_vocabulary": 20, "target_vocabulary": 20, "longest": 24}
    model = build_translator({"name": name, **SIZES}, **sizes, seed=1)
    costs = measure_parts(model, batch("decoder"), Lengths(24, 24))
    agrees_at(costs, model, batch("decoder"), BatchShape(9, 19, 23))


class Biased(nn.Module):
    """A block with a frozen layer, and a buffer that each pass changes."""

    passes: Tensor

    def __init__(self, place: int) -> None:
        super().__init__()
        self.layer_idx = place
        self.trained, self.frozen = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.frozen.requires_grad_(False)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        self.passes += 1
        attended = (torch.einsum("usd,uqd->usq", x, x) + bias).softmax(-1) @ x
        return x + self.frozen(self.trained(attended).relu()), bias


class TwoTensors(SplitModel):
    """A frozen embedding, and a bias of all pairs of tokens that travels with the activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Embedding(16, 4), nn.Linear(4, 3)
        self.first.requires_grad_(False)
        self.blocks = nn.ModuleList(map(Biased, range(3)))
        self.bias = nn.Parameter(torch.zeros(1))
        self.first.register_parameter("bias", self.bias)
        del self.bias

    def parts(self) -> dict[str, nn.Module]:
        blocks = {f"blocks.{n}": block for n, block in enumerate(self.blocks)}
        return {"first": self.first, **blocks, "last": self.last}

    def run(self, part: nn.Module, x: Payload, side: Payload) -> Payload:
        if part is self.first:
            tokens = x[0].shape[1]
            return self.first(x[0]), self.first.bias.expand(1, tokens, tokens)  # type: ignore[operator, union-attr]
        output: Payload = part(*x)
        return output

    def loss(self, x: Payload, side: Payload, labels: Payload, total: int) -> Tensor:
        return nn.functional.cross_entropy(self.last(x[0].mean(1)), labels[0]) / total


def test_several_tensors_frozen_parameters_and_buffers() -> None:
    model, sample = TwoTensors(), batch("sequence")
    state = torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    costs = measure_parts(model, sample, Lengths(20, 1))
    after = model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    shape = BatchShape(7, 11, 1)
    agrees_at(costs, model, sample, shape)
    for part in (costs.first, *costs.blocks):
        assert part.gradient.bytes_on_air("fp32", shape) == 4 * (7 * 11 * 4 + 11 * 11)
        assert part.output.bytes_on_air("fp16", shape) == 2 * (7 * 11 * 4 + 11 * 11) + 7 * 11
    assert (costs.first.parameter_bytes, costs.first.frozen_bytes) == (4, 4 * 16 * 4)
    block = costs.blocks[0]
    assert (block.trained, block.frozen_bytes) == (((4, 1), (16, 4)), 64)
    assert costs.blocks[2] is block
    # The linear layers, twice back for the trained one and once for the frozen one.
    linear = 2 * 7 * 11 * 4 * 4
    scores = 2 * 7 * 11 * 11 * 4
    assert block.forward_flops(shape) == 2 * linear + 2 * scores
    assert block.backward_flops(shape) == 3 * linear + 4 * scores


def test_a_frozen_part_has_no_backward_pass() -> None:
    model = encoder.build(ModelSpec(20, 0, 8, 2, 8, 1, 0, 9, head="sequence", classes=2), 1)
    model.embedding.requires_grad_(False)
    costs = measure_parts(model, batch("sequence"), Lengths(9, 1))
    assert costs.first.backward_flops(BatchShape(2, 9, 1)) == 0
    assert (costs.first.parameter_bytes, costs.first.frozen_bytes) == (0, 4 * 20 * 8)


def test_bfloat16_halves_activations_and_keeps_its_weights() -> None:
    """What autocast keeps of a part are 16-bit numbers, among them a copy of each weight."""
    model = encoder.build(ModelSpec(20, 0, 16, 2, 32, 2, 0, 9, head="sequence", classes=2), 1)
    full = measure_parts(model, batch("sequence"), Lengths(9, 1))
    half = measure_parts(model, batch("sequence"), Lengths(9, 1), "bfloat16")
    shape = BatchShape(64, 9, 1)
    one, other = full.blocks[0], half.blocks[0]
    assert one.forward_flops == other.forward_flops
    assert 0.5 < other.kept_bytes(shape) / one.kept_bytes(shape) < 0.8
    assert one.output == other.output


class Cubic(TwoTensors):
    """Its last part multiplies as many matrices as there are tokens."""

    def loss(self, x: Payload, side: Payload, labels: Payload, total: int) -> Tensor:
        matrix = x[0].mean(0)
        for _ in range(len(matrix)):
            matrix = matrix @ matrix.T @ matrix
        return self.last(matrix).sum()


def test_costs_of_a_higher_degree_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"last: forward_flops is no polynomial .*expected .* at"):
        measure_parts(Cubic(), batch("sequence"), Lengths(20, 1))


def test_parts_are_equal_if_only_their_places_differ() -> None:
    one, other = Biased(0), Biased(1)
    assert _kind(one) == _kind(other)
    other.trained.bias.requires_grad_(False)
    assert _kind(one) != _kind(other)
    assert _kind(nn.Dropout(0.1)) != _kind(nn.Dropout(0.2))
    assert _kind(nn.Dropout(0.1)) != _kind(nn.Dropout(0.1).eval())
