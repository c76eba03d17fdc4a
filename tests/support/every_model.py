"""Small models of every kind, their batches and costs, and their training in a single thread."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from typing import Any

import library_models
import torch
from library_models import CLASSES, LONGEST, SIZES, WORDS
from relative_bias import RelativeBias
from torch import Tensor, nn

from collapipe_ns3.costs.measured import measure_parts
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.engine.stage_worker import MicroBatchDraws
from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.lora import LoRA, add_lora
from collapipe_ns3.learning.models import build_encoder, build_translator
from collapipe_ns3.learning.models.encoder import Encoder
from collapipe_ns3.learning.models.transformer import TranslationModel
from collapipe_ns3.learning.protocol import Lengths
from collapipe_ns3.learning.spec import PAD
from collapipe_ns3.learning.split_model import SplitModel

LOCAL_STEPS = 2
SMOOTHING = 0.1


@dataclass(frozen=True)
class Case:
    """A kind of model: what it predicts, and how it is built with a probability of dropout."""

    head: str
    build: Callable[[float], SplitModel]
    library: str | None = None  # its name there, if a class of the library is the uncut model
    built_in: bool = False

    def batches(self, size: int) -> Callable[[int, int], Iterator[Batch]]:
        """What draws batches of so many sequences for a cluster and round; lengths differ."""

        def drawn(cluster: int, round: int) -> Iterator[Batch]:
            for step in count():
                seed = 1000 * cluster + 100 * round + step
                stream = torch.Generator().manual_seed(seed)
                longest = LONGEST - 3 * (step % 2)
                lengths = torch.randint(1, longest + 1, (size,), generator=stream)
                lengths[-1] = longest
                batch = library_models.batch(self.head, lengths.tolist(), seed)
                yield _shorter_targets(batch) if self.head == "decoder" else batch

        return drawn


def _shorter_targets(batch: Batch) -> Batch:
    """Targets that have a token less than the sources."""
    target = batch.labels[0][:, :-1]
    return Batch(batch.inputs, batch.side, (target,), (target[:, 1:] != PAD).sum(1))


def _translator(dropout: float, **options: object) -> SplitModel:
    return build_translator(
        {"name": "transformer", **SIZES, "dropout": dropout, **options},
        source_vocabulary=WORDS,
        target_vocabulary=WORDS,
        longest=LONGEST,
        label_smoothing=SMOOTHING,
        seed=1,
    )


def _encoder(head: Any, dropout: float, **options: object) -> SplitModel:
    return build_encoder(
        {"name": "encoder", **SIZES, "dropout": dropout, **options},
        vocabulary=WORDS,
        longest=LONGEST,
        classes=CLASSES,
        head=head,
        label_smoothing=SMOOTHING,
        seed=1,
    )


def _library(name: str, head: str, dropout: float) -> SplitModel:
    return library_models.cut(library_models.whole(name, head, dropout), head)


def _with_lora(build: Callable[[float], SplitModel], dropout: float) -> SplitModel:
    model = build(dropout)
    add_lora(model, LoRA(rank=4), seed=2)
    return model


def _relative_bias(dropout: float) -> SplitModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return RelativeBias(WORDS, SIZES["width"], LONGEST, 2, CLASSES, dropout)


_BERT = partial(_library, "bert", "sequence")

CASES = {
    "transformer": Case("decoder", _translator, built_in=True),
    "transformer post-norm": Case("decoder", partial(_translator, norm="post"), built_in=True),
    "transformer tied": Case("decoder", partial(_translator, tied_output=True), built_in=True),
    "encoder sequence": Case("sequence", partial(_encoder, "sequence"), built_in=True),
    "encoder token": Case("token", partial(_encoder, "token", norm="post"), built_in=True),
    "encoder first token": Case(
        "sequence", partial(_encoder, "sequence", pooling="first"), built_in=True
    ),
    "relative bias": Case("sequence", _relative_bias),
    "encoder LoRA": Case("token", partial(_with_lora, partial(_encoder, "token"))),
    "bert LoRA": Case("sequence", partial(_with_lora, _BERT)),
    **{
        f"{name} {head}": Case(head, partial(_library, name, head), name)
        for name, head in library_models.MODELS
    },
}


@cache
def costs(name: str, dropout: float) -> ModelCosts:
    """The costs of a model's parts: by closed forms if it is built in, else measured."""
    case, model = CASES[name], CASES[name].build(dropout)
    longest = Lengths(LONGEST, 1 if case.head == "sequence" else LONGEST)
    if case.built_in:
        assert isinstance(model, TranslationModel | Encoder)
        return closed_form(model.spec, longest)
    return measure_parts(model, next(case.batches(4)(0, 0)), longest)


def adamw(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    """With an ε so large that gradients of almost 0, which are errors of rounding, stay so."""
    return torch.optim.AdamW(parameters, lr=1e-2, eps=1e-3)


def in_parts(batch: Batch, micro_batches: int) -> list[Batch]:
    """The micro-batches of a batch, the larger ones first."""
    return batch.split(
        [len(rows) for rows in torch.arange(batch.sequences).tensor_split(micro_batches)]
    )


#: (round, cluster, pipeline, step, micro-batch), the name of the draws in it.
Place = tuple[int, ...]


class Alone:
    """Trains a whole model in this thread: all micro-batches one after the other."""

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).train()
        self.trained = [each for each in self.model.parameters() if each.requires_grad]
        self.optimizer = adamw(iter(self.trained))

    def loss(self, part: Batch, total: int, place: Place) -> Tensor:
        raise NotImplementedError

    def before_step(self) -> None:
        """Changes gradients between the last backward pass of a step and the optimizer."""

    def round(self, batches: Iterator[Batch], micro_batches: int, place: Place) -> float:
        """The mean loss of the local steps of a round, of which `place` is the beginning."""
        losses = []
        for step in range(LOCAL_STEPS):
            batch, found = next(batches), list[float]()
            for m, part in enumerate(in_parts(batch, micro_batches)):
                loss = self.loss(part, batch.total, (*place, step, m))
                loss.backward()  # type: ignore[no-untyped-call]
                found.append(loss.item())
            self.before_step()
            self.optimizer.step()
            self.optimizer.zero_grad()
            losses.append(sum(found))
        return math.fsum(losses) / LOCAL_STEPS


class AloneInParts(Alone):
    """A split model in one graph; each part has a generator of its own for each micro-batch."""

    model: SplitModel

    def loss(self, part: Batch, total: int, place: Place) -> Tensor:
        draws, device = MicroBatchDraws(0, place), torch.device("cpu")
        x, (*parts, (last, _)) = part.inputs, self.model.parts().items()
        for name, module in parts:
            with draws.within(name, device):
                x = self.model.run(module, x, part.side)
        with draws.within(last, device):
            return self.model.loss(x, part.side, part.labels, total)

    def before_step(self) -> None:
        for later, first in self.model.tied.items():
            copies = [self.model.get_parameter(name) for name in (first, later)]
            both = copies[0].grad + copies[1].grad  # type: ignore[operator]
            for parameter in copies:
                parameter.grad = both.clone()


class AloneInLibrary(Alone):
    """A model of the library, called as a whole; without dropout."""

    def __init__(self, name: str, head: str) -> None:
        super().__init__(library_models.whole(name, head, 0.0))
        self.head = head

    def loss(self, part: Batch, total: int, place: Place) -> Tensor:
        return library_models.uncut_loss(self.model, part, self.head, total)

    def cut(self) -> SplitModel:
        """A copy of the model in parts."""
        return library_models.cut(self.model, self.head)


def averaged(models: Sequence[SplitModel], weights: Sequence[float]) -> Mapping[str, Tensor]:
    """The weighted mean of trained parameters, by name."""
    named = [dict(model.named_parameters()) for model in models]
    return {
        name: sum(each[name].detach() * w for each, w in zip(named, weights, strict=True))  # type: ignore[misc]
        for name, parameter in named[0].items()
        if parameter.requires_grad
    }
