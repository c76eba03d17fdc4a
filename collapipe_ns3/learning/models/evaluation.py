"""Evaluation of models: mean loss, predicted classes and tags, and translations.

All functions set the model to evaluation mode (no dropout) and back, and keep no gradients. Memory
is bounded by the largest of the batches, which `chunks` makes of one batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.models.classifier import Classifier
from collapipe_ns3.learning.models.decoding import Beam, beam_search, greedy
from collapipe_ns3.learning.models.translator import Translator
from collapipe_ns3.learning.spec import EOS, IGNORED
from collapipe_ns3.learning.split_model import SplitModel


def chunks(batch: Batch, sequences: int = 64) -> list[Batch]:
    """Consecutive parts of a batch, each of at most `sequences` sequences."""
    return [batch.part(i, i + sequences) for i in range(0, batch.sequences, sequences)]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[torch.device]:
    """Evaluation mode without gradients; afterwards every module has its mode again.

    Yields the device of the model's parameters.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield next(model.parameters()).device
    finally:
        for module in training:
            module.training = True


def mean_loss(model: SplitModel, batches: Iterable[Batch]) -> float:
    """The mean loss of all predictions in all batches, 0 if there are none."""
    losses, predictions = 0.0, 0
    with evaluating(model) as device:
        for batch in batches:
            losses += float(model.uncut_loss(batch.to(device), total=1))
            predictions += batch.total
    return losses / max(predictions, 1)


def predict_classes(model: Classifier, batches: Iterable[Batch]) -> list[int]:
    """The most probable class of each sequence."""
    return [label for logits, _ in _outputs(model, batches) for label in logits.argmax(-1).tolist()]


def predict_tags(model: Classifier, batches: Iterable[Batch]) -> list[list[int]]:
    """For each sequence the most probable classes of the tokens whose label is not `IGNORED`."""
    return [
        tags[wanted].tolist()
        for logits, batch in _outputs(model, batches)
        for tags, wanted in zip(logits.argmax(-1), batch.labels[0] != IGNORED, strict=True)
    ]


def _outputs(model: Classifier, batches: Iterable[Batch]) -> Iterator[tuple[Tensor, Batch]]:
    """Logits of each batch, which is on the model's device."""
    with evaluating(model) as device:
        for batch in batches:
            there = batch.to(device)
            yield model.logits(model.encode(there.inputs, there.side), there.side), there


def translate(
    model: Translator, batches: Iterable[Batch], length: int, beam: Beam | None = None
) -> list[list[int]]:
    """The predicted target tokens of each source sequence, at most `length`, EOS counted.

    `length` is below the model's longest target. Decoding is greedy without `beam`. BOS and EOS
    are left out, and so is all that follows EOS. Labels are not used.
    """
    found: list[list[int]] = []
    with evaluating(model) as device:
        for batch in batches:
            there = batch.to(device)
            if beam is None:
                tokens = greedy(model, there.inputs, there.side, length)
            else:
                tokens = beam_search(model, there.inputs, there.side, length, beam)
            found += [sentence(row) for row in tokens.tolist()]
    return found


def sentence(tokens: list[int]) -> list[int]:
    """The tokens after BOS and before EOS, or to the end if there is none."""
    return tokens[1 : tokens.index(EOS)] if EOS in tokens else tokens[1:]
