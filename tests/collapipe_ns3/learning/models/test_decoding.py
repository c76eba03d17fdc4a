"""Greedy decoding and beam search against an exhaustive search."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.learning.models.decoding import Beam, beam_search, greedy
from collapipe_ns3.learning.models.transformer import TranslationModel, build
from collapipe_ns3.learning.models.translator import Recomputation, Translator
from collapipe_ns3.learning.spec import BOS, EOS, PAD, ModelSpec, Norm

SPEC = ModelSpec(
    source_vocabulary=7,
    target_vocabulary=5,
    width=8,
    heads=2,
    feed_forward=16,
    encoder_blocks=1,
    decoder_blocks=1,
    max_length=12,
)


def decisive(seed: int) -> TranslationModel:
    """A model with random weights whose predictions are far from uniform."""
    model = build(SPEC, seed).eval()
    with torch.no_grad():
        model.decoder.head.weight *= 8
    return model


def sources(seed: int, rows: int = 3) -> tuple[Payload, Payload]:
    tokens = torch.randint(3, 7, (rows, 5), generator=torch.Generator().manual_seed(seed))
    tokens[0, 3:] = PAD
    return (tokens,), (tokens == PAD,)


@torch.no_grad()
def log_probability(model: Translator, x: Payload, side: Payload, tokens: tuple[int, ...]) -> float:
    """The log-probability of `tokens` after BOS, for a single source."""
    target = torch.tensor([[BOS, *tokens]])
    log_p = model.logits(x, side, target[:, :-1]).double().log_softmax(-1)
    return float(log_p[0, torch.arange(len(tokens)), target[0, 1:]].sum())


@torch.no_grad()
def exhaustive(
    model: Translator, inputs: Payload, side: Payload, length: int, penalty: float
) -> list[int]:
    """The best of all sequences that end within `length` tokens, for a single source."""
    x = model.encode(inputs, side)
    words = [token for token in range(SPEC.target_vocabulary) if token != EOS]
    every = [(*tokens, EOS) for n in range(length) for tokens in itertools.product(words, repeat=n)]
    scores = [log_probability(model, x, side, t) / len(t) ** penalty for t in every]
    return [BOS, *every[max(range(len(every)), key=scores.__getitem__)]]


def without_padding(row: Tensor) -> list[int]:
    tokens: list[int] = row.tolist()
    return tokens[: tokens.index(EOS) + 1]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), penalty=st.sampled_from([0.0, 0.6, 1.0]))
def test_a_wide_beam_finds_the_best_sequence(seed: int, penalty: float) -> None:
    model = decisive(seed)
    inputs, side = sources(seed)
    width = SPEC.target_vocabulary**3
    found = beam_search(model, inputs, side, 4, Beam(width, penalty))
    for row in range(len(found)):
        source = (inputs[0][row : row + 1],), (side[0][row : row + 1],)
        assert without_padding(found[row]) == exhaustive(model, *source, 4, penalty)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), length=st.integers(0, 9))
def test_one_beam_is_greedy_decoding(seed: int, length: int) -> None:
    model = decisive(seed)
    inputs, side = sources(seed, rows=8)
    expected = greedy(model, inputs, side, length)
    assert torch.equal(beam_search(model, inputs, side, length, Beam(1)), expected)


def test_without_an_end_the_most_probable_beam_is_taken() -> None:
    model = decisive(1)
    with torch.no_grad():
        model.decoder.head.bias[EOS] = -torch.inf
    inputs, side = sources(1)
    found = beam_search(model, inputs, side, 3, Beam(5**3, 1.0))
    x = model.encode(inputs, side)
    for row, tokens in enumerate(found.tolist()):
        source = ((x[0][row : row + 1],), (side[0][row : row + 1],))
        every = itertools.product([0, 1, 3, 4], repeat=3)
        best = max(every, key=lambda tokens: log_probability(model, *source, tokens))
        assert tokens == [BOS, *best]


@pytest.mark.parametrize("width", [2, 4])
def test_a_sequence_is_decoded_alike_alone_and_in_a_batch(width: int) -> None:
    model = decisive(3)
    inputs, side = sources(3, rows=6)
    together = beam_search(model, inputs, side, 8, Beam(width))
    for row in range(6):
        alone = beam_search(
            model, (inputs[0][row : row + 1],), (side[0][row : row + 1],), 8, Beam(width)
        )
        n = alone.shape[1]
        assert torch.equal(alone[0], together[row, :n])
        assert (together[row, n:] == PAD).all()


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("tied", [False, True])
def test_cached_keys_and_values_change_no_logits(norm: Norm, tied: bool) -> None:
    spec = dataclasses.replace(
        SPEC, width=16, decoder_blocks=2, norm=norm, tied_output=tied, dropout=0.2
    )
    model = build(spec, 1).eval()
    inputs, side = sources(1, rows=6)
    target = torch.randint(5, (6, 7), generator=torch.Generator().manual_seed(1))
    rows = torch.tensor([3, 0, 0, 5])
    with torch.no_grad():
        x = model.encode(inputs, side)
        cached, again = model.continuation(x, side), Recomputation(model, x, side)
        for n in range(7):
            assert torch.allclose(
                cached.next_logits(target[:, n]), again.next_logits(target[:, n]), atol=1e-5
            )
            if n == 3:
                cached.select(rows)
                again.select(rows)
                target = target[rows]
