"""Small models of Hugging Face's `transformers`, whole and cut, with batches for their heads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.models.huggingface import encoder_family, translator_family
from collapipe_ns3.learning.models.huggingface_cut import CutEncoder, CutTranslator
from collapipe_ns3.learning.models.huggingface_load import Family, make
from collapipe_ns3.learning.spec import BOS, EOS, IGNORED, PAD
from collapipe_ns3.learning.split_model import SplitModel

SIZES = {"width": 32, "heads": 4, "feed_forward": 64, "encoder_blocks": 2, "decoder_blocks": 2}
LONGEST, WORDS, CLASSES = 12, 50, 5

ENCODERS = ("bert", "roberta", "distilbert", "electra")
TRANSLATORS = ("bart", "marian")
MODELS = [
    *((name, head) for name in ENCODERS for head in ("token", "sequence")),
    *((name, "decoder") for name in TRANSLATORS),
]


def family(name: str, head: str) -> Family:
    return translator_family(name) if head == "decoder" else encoder_family(name, head)  # type: ignore[arg-type]


def whole(name: str, head: str, dropout: float, **sizes: Any) -> Any:
    """An uncut model."""
    positions = LONGEST + (1 if name == "roberta" else 0)
    task = {"decoder_start_token_id": BOS} if head == "decoder" else {"num_labels": CLASSES}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return make(
            family(name, head),
            {"name": name, **SIZES, "dropout": dropout},
            {"vocab_size": WORDS, "max_position_embeddings": positions, **task, **sizes},
        )


def cut(uncut: Any, head: str) -> SplitModel:
    """The same model in parts, with tensors of its own."""
    kind = CutTranslator if head == "decoder" else CutEncoder
    return kind(copy.deepcopy(uncut), label_smoothing=0.1)


def batch(head: str, lengths: Sequence[int] = (12, 3, 7, 12, 1, 9, 12, 12), seed: int = 2) -> Batch:
    """Sequences of these lengths, padded to the longest of them; random tokens and labels."""
    stream = torch.Generator().manual_seed(seed)
    padding = torch.arange(max(lengths)) >= torch.tensor(lengths).unsqueeze(1)
    source = torch.randint(3, WORDS, padding.shape, generator=stream).masked_fill(padding, PAD)
    if head == "sequence":
        counts = torch.ones(len(lengths), dtype=torch.long)
        classes = torch.randint(CLASSES, counts.shape, generator=stream)
        return Batch((source,), (padding,), (classes,), counts)
    if head == "token":
        tags = torch.randint(CLASSES, source.shape, generator=stream)
        tags = tags.masked_fill(padding, IGNORED)
        return Batch((source,), (padding,), (tags,), (~padding).sum(1), aligned=True)
    target = torch.randint(3, WORDS, padding.shape, generator=stream)
    target = target.masked_fill(padding.flip(0), PAD)
    target[:, 0] = BOS
    target[torch.arange(len(target)), (~padding.flip(0)).sum(1).clamp(min=2) - 1] = EOS
    return Batch((source,), (padding,), (target,), (target[:, 1:] != PAD).sum(1))


def uncut_loss(model: Any, part: Batch, head: str, total: int) -> Tensor:
    """The loss of a micro-batch by the library's model, and our own sum."""
    (labels,) = part.labels
    given = {"input_ids": part.inputs[0], "attention_mask": (~part.side[0]).long()}
    if head == "decoder":
        logits = model(**given, decoder_input_ids=labels[:, :-1], use_cache=False).logits
        labels = labels[:, 1:].masked_fill(labels[:, 1:] == PAD, IGNORED)
    else:
        logits = model(**given).logits
    loss = functional.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), reduction="sum", label_smoothing=0.1
    )
    return loss / total


def library_name(name: str, prefix: str) -> str:
    """The library's name of a parameter of the cut model."""
    part, _, rest = name.partition(".")
    if part == "blocks":
        index, _, rest = rest.partition(".")
        rest = rest.replace("layer.0.", f"layer.{index}.").replace("layers.0.", f"layers.{index}.")
    if part in ("head", "decoder"):
        return rest
    return f"model.encoder.{rest}" if prefix == "model" else f"{prefix}.{rest}"
