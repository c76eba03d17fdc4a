"""Draws from an own generator: equal to PyTorch's with that seed, and never mixed by threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's documentation names it F
from torch import Tensor, nn

from collapipe_ns3.learning import draws as module_under_test
from collapipe_ns3.learning.draws import draws, draws_anything, seeded

Forward = Callable[[Tensor], Tensor]

SEED = 11


def x(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5)).requires_grad_()


def results(forward: Forward, input: Tensor) -> list[Tensor]:
    """The output, and the gradient of the sum of its squares."""
    input = input.detach().clone().requires_grad_()
    output = forward(input)
    output.square().sum().backward()
    assert input.grad is not None
    return [output.detach(), input.grad]


def equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def with_global(forward: Forward, input: Tensor) -> list[Tensor]:
    torch.manual_seed(SEED)
    return results(forward, input)


def with_own(forward: Forward, input: Tensor) -> list[Tensor]:
    with draws(torch.Generator().manual_seed(SEED)):
        return results(forward, input)


def layer(norm_first: bool = False) -> nn.Module:
    torch.manual_seed(1)
    return nn.TransformerEncoderLayer(8, 2, 16, 0.3, batch_first=True, norm_first=norm_first)


def attention(**settings: Any) -> Forward:
    return lambda q: F.scaled_dot_product_attention(
        q, q.flip(-1), q * 0.5, dropout_p=0.4, **settings
    )


def masked(kind: str) -> Forward:
    """Attention whose first query sees nothing."""
    seen = torch.ones(5, 5, dtype=torch.bool).tril()
    seen[0] = False
    added = torch.zeros(5, 5).masked_fill(~seen, -torch.inf)
    return attention(attn_mask=seen if kind == "bool" else added)


def grouped(q: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, q[:, :2], q[:, 2:], dropout_p=0.4, enable_gqa=True)


def multi_head(need_weights: bool) -> Forward:
    torch.manual_seed(1)
    heads = nn.MultiheadAttention(8, 2, dropout=0.4, batch_first=True)
    return lambda q: heads(q, q, q, need_weights=need_weights)[0]


def recurrent() -> Forward:
    torch.manual_seed(1)
    network = nn.LSTM(8, 8, 2, batch_first=True, dropout=0.5)
    return lambda q: network(q)[0]


#: Everything that draws, by name, with the shape of an input.
DRAWING: dict[str, tuple[Forward, tuple[int, ...]]] = {
    "F.dropout": (lambda q: F.dropout(q, 0.3), (6, 7)),
    "F.dropout, p = 1": (lambda q: F.dropout(q, 1.0), (6, 7)),
    "F.dropout in place": (lambda q: F.dropout(q * 2, 0.3, inplace=True), (6, 7)),
    "torch.dropout": (lambda q: torch.dropout(q, 0.3, True), (6, 7)),
    "torch.dropout by keywords": (lambda q: torch.dropout(q, p=0.3, train=True), (6, 7)),
    "torch.dropout_": (lambda q: torch.dropout_(q * 2, 0.3, True), (6, 7)),
    "torch.native_dropout": (lambda q: torch.native_dropout(q, 0.3, True)[0], (6, 7)),
    "nn.Dropout": (nn.Dropout(0.3), (6, 7)),
    "nn.Dropout in place": (lambda q: nn.Dropout(0.3, inplace=True)(q * 2), (6, 7)),
    "nn.Dropout1d": (nn.Dropout1d(), (6, 7, 3)),
    "nn.Dropout2d": (nn.Dropout2d(), (6, 7, 2, 2)),
    "nn.Dropout3d": (nn.Dropout3d(), (6, 7, 2, 2, 2)),
    "nn.AlphaDropout": (nn.AlphaDropout(), (6, 7)),
    "nn.FeatureAlphaDropout": (nn.FeatureAlphaDropout(), (6, 7, 3)),
    "nn.RReLU": (nn.RReLU(), (6, 7)),
    "F.gumbel_softmax": (lambda q: F.gumbel_softmax(q, tau=2.0), (6, 7)),
    "torch.bernoulli": (lambda q: q * torch.bernoulli(q.sigmoid()), (6, 7)),
    "Tensor.bernoulli_": (lambda q: q * torch.empty_like(q).bernoulli_(0.5), (6, 7)),
    "Tensor.uniform_": (lambda q: q * torch.empty_like(q).uniform_(), (6, 7)),
    "torch.rand": (lambda q: q * torch.rand(7), (6, 7)),
    "torch.rand_like": (lambda q: q * torch.rand_like(q), (6, 7)),
    "torch.randn_like": (lambda q: q * torch.randn_like(q), (6, 7)),
    "torch.randint": (lambda q: q * torch.randint(0, 9, (7,)), (6, 7)),
    "torch.randperm": (lambda q: q[torch.randperm(6)] * q, (6, 7)),
    "torch.normal": (lambda q: q * torch.normal(0.0, 1.0, (7,)), (6, 7)),
    "torch.multinomial": (lambda q: q[torch.multinomial(torch.ones(6), 3)], (6, 7)),
    "nn.LSTM": (recurrent(), (3, 4, 8)),
    "attention": (attention(), (2, 4, 5, 8)),
    "attention, scaled": (attention(scale=0.5), (2, 4, 5, 8)),
    "attention, causal": (attention(is_causal=True), (2, 4, 5, 8)),
    "attention, boolean mask": (masked("bool"), (2, 4, 5, 8)),
    "attention, additive mask": (masked("float"), (2, 4, 5, 8)),
    "attention, grouped": (grouped, (2, 4, 5, 8)),
    "nn.MultiheadAttention": (multi_head(False), (3, 5, 8)),
    "nn.MultiheadAttention with weights": (multi_head(True), (3, 5, 8)),
    "nn.TransformerEncoderLayer": (layer(), (3, 5, 8)),
    "nn.TransformerEncoderLayer, norm first": (layer(True), (3, 5, 8)),
}


@pytest.mark.parametrize("name", DRAWING)
def test_results_and_gradients_equal_torchs_own_with_the_same_seed(name: str) -> None:
    forward, shape = DRAWING[name]
    assert equal(with_own(forward, x(*shape)), with_global(forward, x(*shape)))


@pytest.mark.parametrize("name", DRAWING)
def test_the_global_generator_is_left_alone(name: str) -> None:
    forward, shape = DRAWING[name]
    before = torch.get_rng_state()
    first = with_own(forward, x(*shape))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert equal(with_own(forward, x(*shape)), first)


def test_another_seed_gives_other_draws() -> None:
    ones = torch.ones(100)
    dropped = []
    for seed in (SEED, SEED + 1):
        with draws(seeded(seed, "dropout", 3)):
            dropped.append(F.dropout(ones))
    assert not torch.equal(*dropped)
    assert seeded(1, "a", 2).initial_seed() != seeded(1, "a", 3).initial_seed()


def test_dropout_keeps_the_expectation() -> None:
    ones = torch.ones(200_000)
    for p in (0.1, 0.5):
        with draws(seeded(0, "expectation")):
            dropped = F.dropout(ones, p)
        assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / (1 - p)).item()}
        assert dropped.mean().item() == pytest.approx(1, abs=0.01)


def test_gradients_are_those_of_the_explicit_mask() -> None:
    """Attention written out with the weights' mask as a constant."""
    q = x(2, 3, 5, 4).detach().double().requires_grad_()
    with draws(torch.Generator().manual_seed(SEED)):
        given = F.scaled_dot_product_attention(q, q, q, dropout_p=0.25)
    (gradient,) = torch.autograd.grad(given.square().sum(), q)
    stream = torch.Generator().manual_seed(SEED)
    mask = torch.empty(2, 3, 5, 5, dtype=torch.double).bernoulli_(0.75, generator=stream)
    weights = torch.softmax(q @ q.transpose(-1, -2) / 2, -1)
    expected = (weights * mask / 0.75) @ q
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), q)
    torch.testing.assert_close(given, expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_a_draw_with_a_generator_keeps_it() -> None:
    def draw() -> Tensor:
        return torch.rand(4, generator=torch.Generator().manual_seed(3))

    with draws(torch.Generator().manual_seed(SEED)):
        inside = draw()
    assert torch.equal(inside, draw())


def test_contexts_nest_and_end() -> None:
    ones = torch.ones(50)
    outer, inner = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    with draws(outer):
        with draws(inner):
            first = F.dropout(ones)
        second = F.dropout(ones)
    for seed, expected in ((2, first), (1, second)):
        torch.manual_seed(seed)
        assert torch.equal(F.dropout(ones), expected)


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_a_probability_out_of_range_is_refused_as_torch_does(p: float) -> None:
    with (
        draws(torch.Generator()),
        pytest.raises(ValueError, match="dropout probability has to be between 0 and 1"),
    ):
        F.dropout(torch.ones(1), p)


def test_a_kernel_that_takes_no_generator_is_refused() -> None:
    q = torch.ones(1, 1, 2, 2)
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    mode = module_under_test._KernelDraws(lambda device: torch.Generator())
    with mode:
        kernel(q, q, q, 0.0)
    with mode, pytest.raises(NotImplementedError, match=r"flash_attention.*global generator"):
        kernel(q, q, q, 0.1)


def test_every_function_that_torch_says_draws_is_known() -> None:
    """Those of its kernels with the tag `nondeterministic_seeded` that have a function."""
    frequent = set(module_under_test._Draws(torch.Generator()).frequent)
    known = module_under_test._DRAWING_FUNCTIONS | frequent
    missing = []
    for name in dir(torch.ops.aten):
        packet = getattr(torch.ops.aten, name)
        if not isinstance(packet, torch._ops.OpOverloadPacket) or name.startswith("_"):
            continue
        overloads = [getattr(packet, overload) for overload in packet.overloads()]
        if not any(torch.Tag.nondeterministic_seeded in overload.tags for overload in overloads):
            continue
        functions = {getattr(place, name) for place in (torch, Tensor, F) if hasattr(place, name)}
        missing += [(name, function) for function in functions if function not in known]
    assert {name for name, _ in missing} <= {"miopen_rnn"}  # `nn.LSTM` reaches it by `torch.lstm`


def forwards() -> list[tuple[Forward, Tensor]]:
    block = nn.TransformerEncoderLayer(16, 2, 32, 0.1, batch_first=True)
    return [(block, x(4, 6, 16)), (lambda q: F.dropout(q @ q, 0.2), x(64, 64))]


def test_two_threads_draw_as_one_after_the_other() -> None:
    def run(number: int) -> list[Tensor]:
        forward, input = cases[number % 2]
        with draws(seeded(SEED, "thread", number)):
            return [forward(input).detach() for _ in range(3)]

    cases = forwards()
    before = torch.get_rng_state()
    serial = [run(number) for number in range(200)]
    with ThreadPoolExecutor(2) as pool:
        parallel = list(pool.map(run, range(200)))
    assert all(map(equal, serial, parallel))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_draws_nothing_is_known() -> None:
    block = nn.TransformerEncoderLayer(8, 2, 16, 0.1)
    assert draws_anything(block)
    assert not draws_anything(block.eval())
    assert not draws_anything(nn.TransformerEncoderLayer(8, 2, 16, 0.0))
    assert draws_anything(nn.MultiheadAttention(8, 2, dropout=0.1))
    assert draws_anything(nn.LSTM(8, 8, 2, dropout=0.1))
    assert draws_anything(nn.Sequential(nn.Linear(2, 2), nn.RReLU()))
    assert not draws_anything(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0)))

    class Own(nn.Module):
        pass

    assert draws_anything(nn.Sequential(Own()))
    assert not draws_anything(nn.Sequential(Own()).eval())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["Bert", "DistilBert"])
def test_hugging_face_models_draw_as_with_the_global_generator(name: str, attention: str) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {
        "Bert": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        },
        "DistilBert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    }[name]
    config = getattr(transformers, f"{name}Config")(vocab_size=50, **sizes)
    config._attn_implementation = attention
    torch.manual_seed(1)
    model = getattr(transformers, f"{name}Model")(config).train()
    assert draws_anything(model)
    mask = torch.arange(7) < torch.tensor([7, 4, 5])[:, None]

    def forward(embedded: Tensor) -> Tensor:
        output: Tensor = model(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
        return output

    input = x(3, 7, 32)
    expected = with_global(forward, input)
    state = torch.get_rng_state()
    assert equal(with_own(forward, input), expected)
    assert torch.equal(torch.get_rng_state(), state)

    def run(number: int) -> list[Tensor]:
        with draws(seeded(SEED, number)):
            return [forward(input).detach()]

    serial = [run(number) for number in range(20)]
    with ThreadPoolExecutor(2) as pool:
        assert all(map(equal, serial, pool.map(run, range(20))))
    assert not draws_anything(model.eval())


def test_the_context_costs_little() -> None:
    """The bound is wide, for machines that do other things as well; 3 to 5 % were measured."""
    block = nn.TransformerEncoderLayer(128, 4, 512, 0.1, batch_first=True)
    input = x(16, 16, 128)
    generator = torch.Generator()

    def seconds(context: Callable[[], Any]) -> float:
        start = time.thread_time()
        for _ in range(10):
            with context():
                output = block(input)
            output.sum().backward()
        return time.thread_time() - start

    pairs = [(seconds(nullcontext), seconds(lambda: draws(generator))) for _ in range(8)]
    plain, own = (min(times) for times in zip(*pairs, strict=True))
    assert own < 1.25 * plain
