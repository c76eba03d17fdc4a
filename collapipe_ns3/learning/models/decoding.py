"""Decoding: the target sequences that a translator predicts, greedily or by beam search.

Shapes: u sequences, b beams, V target tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.learning.models.translator import Translator
from collapipe_ns3.learning.spec import BOS, EOS, PAD


@torch.no_grad()
def greedy(model: Translator, inputs: Payload, side: Payload, length: int) -> Tensor:
    """The most probable token at each step: [u, at most `length` + 1] from BOS, PAD after EOS."""
    continuation = model.continuation(model.encode(inputs, side), side)
    token = torch.full((len(inputs[0]),), BOS, device=inputs[0].device)
    target = torch.full((len(token), length + 1), PAD, device=token.device)
    target[:, 0] = BOS
    going_on = torch.arange(len(token), device=token.device)
    longest = 1
    while longest <= length and len(going_on):
        token = continuation.next_logits(token).argmax(-1)
        target[going_on, longest] = token
        longest += 1
        rows = (token != EOS).nonzero().squeeze(1)
        if len(rows) < len(token):
            continuation.select(rows)
            token, going_on = token[rows], going_on[rows]
    return target[:, :longest]


@dataclass(frozen=True, slots=True)
class Beam:
    """How a beam search ranks and ends.

    A hypothesis of n tokens (EOS included, BOS not) with the probability p has the score
    log p / n^`penalty`: with 0 short sequences are preferred, with 1 it is the mean of the tokens'
    log-probabilities.
    """

    width: int = 4
    penalty: float = 1.0

    def score(self, log_probability: Tensor, tokens: int) -> Tensor:
        return log_probability / float(tokens**self.penalty)


@torch.no_grad()
def beam_search(
    model: Translator, inputs: Payload, side: Payload, length: int, beam: Beam
) -> Tensor:
    """The sequence with the best score that is found: [u, at most `length` + 1], as `greedy`.

    At each step the continuations of all beams are ranked by probability. Those among the first b
    that end with EOS are hypotheses, and the first b that don't are the next beams. A sequence's
    search ends when it has b hypotheses, when no beam can reach a better score than the best of
    them, or after `length` tokens; if it has none by then, the most probable beam is taken. With
    one beam this is `greedy`.
    """
    search = _Search(model, inputs, side, length, beam)
    while search.tokens < length and not bool(search.done.all()):
        search.extend()
    return search.best_found()


class _Search:
    """The state of a beam search of u sequences with b beams each; tensors of beams are [u · b].

    `scores` [u, b] are log-probabilities of the beams. `best` [u, length + 1] and `best_score` [u]
    are the best hypothesis of each sequence, and `hypotheses` [u] counts all of them.
    """

    def __init__(
        self, model: Translator, inputs: Payload, side: Payload, length: int, beam: Beam
    ) -> None:
        self.beam, self.length = beam, length
        u, b, device = len(inputs[0]), beam.width, inputs[0].device
        self.continuation = model.continuation(model.encode(inputs, side), side)
        self.continuation.select(torch.arange(u, device=device).repeat_interleave(b))
        self.target = torch.full((u * b, 1), BOS, device=device)
        self.scores = torch.full((u, b), -math.inf, dtype=torch.float64, device=device)
        self.scores[:, 0] = 0.0  # all beams begin alike, so that only one of them counts
        self.first_beam = torch.arange(0, u * b, b, device=device).unsqueeze(1)
        self.best = torch.full((u, length + 1), PAD, device=device)
        self.best_score = torch.full((u,), -math.inf, dtype=torch.float64, device=device)
        self.hypotheses = torch.zeros(u, dtype=torch.long, device=device)
        self.done = torch.zeros(u, dtype=torch.bool, device=device)

    @property
    def tokens(self) -> int:
        """The number of tokens of each beam after BOS."""
        return self.target.shape[1] - 1

    def extend(self) -> None:
        """Extends all beams by a token."""
        u, b = self.scores.shape
        # float64 keeps apart what differs in the logits, so that one beam is greedy decoding
        logits = self.continuation.next_logits(self.target[:, -1])
        log_p = logits.double().log_softmax(-1)
        ranked = (self.scores.unsqueeze(2) + log_p.view(u, b, -1)).flatten(1)
        ranked, index = ranked.topk(2 * b)  # of these at most b end, one of each beam
        row = self.first_beam + index.div(log_p.shape[1], rounding_mode="floor")
        token = index % log_p.shape[1]
        ends = (token == EOS) & (ranked > -math.inf)
        self._add_hypotheses(ranked[:, :b], row, ends[:, :b])

        going_on = ends.long().argsort(dim=1, stable=True)[:, :b]
        self.scores = ranked.gather(1, going_on)
        row, token = row.gather(1, going_on).flatten(), token.gather(1, going_on).flatten()
        self.target = torch.cat([self.target[row], token.unsqueeze(1)], dim=1)
        self.continuation.select(row)
        reachable = self.beam.score(self.scores.max(1).values, self.length)
        self.done |= (self.hypotheses >= b) | (self.best_score >= reachable)

    def _add_hypotheses(self, log_probability: Tensor, row: Tensor, ends: Tensor) -> None:
        """Beams [u, b] that are extended by EOS, where `ends` is true."""
        ends = ends & ~self.done.unsqueeze(1)
        score = self.beam.score(log_probability, self.tokens + 1).masked_fill(~ends, -math.inf)
        score, which = score.max(1)
        prefix = self.target[row.gather(1, which.unsqueeze(1)).squeeze(1)]
        better = score > self.best_score
        kept = self.best[better]
        kept[:, : self.tokens + 1] = prefix[better]
        kept[:, self.tokens + 1] = EOS
        self.best[better] = kept
        self.best_score = torch.where(better, score, self.best_score)
        self.hypotheses += ends.sum(1)

    def best_found(self) -> Tensor:
        """The best hypothesis of each sequence, or its most probable beam if it has none."""
        best = self.best[:, : self.tokens + 1].clone()
        none = self.hypotheses == 0
        best[none] = self.target[self.first_beam.squeeze(1) + self.scores.argmax(1)][none]
        return best
