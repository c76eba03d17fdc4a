"""A split model of which first and last part have a tied parameter, with its batches and costs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from collapipe_ns3.costs.measured import measure_parts
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.learning.batch import Batch, Payload
from collapipe_ns3.learning.protocol import Lengths
from collapipe_ns3.learning.split_model import SplitModel

WORDS, WIDTH = 13, 8


class Tied(SplitModel):
    """Predicts the words of a sequence with the transposed embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.tied = {"head.weight": "embedding.weight"}
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.second.weight.requires_grad_(False)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        self.head.weight.data.copy_(self.embedding.weight)

    def parts(self) -> dict[str, nn.Module]:
        return {
            "embedding": self.embedding,
            "first": self.first,
            "second": self.second,
            "head": self.head,
        }

    def run(self, part: nn.Module, x: Payload, side: Payload) -> Payload:
        return (torch.tanh(part(x[0])) if part is not self.embedding else part(x[0]),)

    def loss(self, x: Payload, side: Payload, labels: Payload, total: int) -> Tensor:
        logits = self.head(x[0]).flatten(0, 1)
        return functional.cross_entropy(logits, labels[0].flatten(), reduction="sum") / total


def model() -> Tied:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return Tied()


def batches(cluster: int, round: int) -> Iterator[Batch]:
    stream = torch.Generator().manual_seed(100 * cluster + round)
    while True:
        words = torch.randint(WORDS, (8, 5), generator=stream)
        yield Batch((words,), (words < 0,), (words.flip(1),), torch.full((8,), 5), aligned=True)


def costs() -> ModelCosts:
    return measure_parts(model(), next(batches(0, 0)), Lengths(5, 5))
