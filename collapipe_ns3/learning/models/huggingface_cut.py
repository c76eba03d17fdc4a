"""Models of Hugging Face's `transformers`, cut into parts without copying the library's code.

A part is a *shell*: a shallow copy of the model's own module in which some submodules are replaced.
It runs the module's own `forward`, so that masks, poolers and dropout are the library's. The
submodules that are kept are those of the whole model, not copies.

Shapes: B sequences, s source tokens, t target tokens, width d, C classes.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.learning.models.classifier import Classifier
from collapipe_ns3.learning.models.local_head import LocalHead
from collapipe_ns3.learning.models.translator import Continuation, Translator

M = TypeVar("M", bound=nn.Module)


class CutEncoder(Classifier):
    """An encoder with a head: its embedding, its layers one by one, and its head.

    Between the parts travels the activation [B, s, d].
    """

    def __init__(self, whole: Any, label_smoothing: float = 0.0) -> None:
        """Cuts `whole`, a model for classification of tokens or sequences; keeps its modules."""
        super().__init__()
        self.label_smoothing = label_smoothing
        base = whole.base_model
        stack = "transformer" if hasattr(base, "transformer") else "encoder"
        no_pooler = {"pooler": None} if hasattr(base, "pooler") else {}

        def with_layers(*layers: nn.Module, **replaced: nn.Module | None) -> nn.Module:
            inner = shell(getattr(base, stack), layer=nn.ModuleList(layers))
            made: nn.Module = shell(base, **{stack: inner}, **replaced)
            return made

        def after_embedding(*layers: nn.Module, **replaced: nn.Module | None) -> nn.Module:
            made = with_layers(*layers, embeddings=GivenVectors(), **replaced)
            if hasattr(made, "embeddings_project"):  # ELECTRA's, which the embedding has
                del made.embeddings_project
            return made

        self.embedding = with_layers(**no_pooler)
        self.blocks = nn.ModuleList(
            after_embedding(layer, **no_pooler) for layer in getattr(base, stack).layer
        )
        self.head = shell(whole, **{whole.base_model_prefix: after_embedding()})
        self._sizes = (whole.config.hidden_size, whole.config.num_labels)
        self._by_sequence = "SequenceClassification" in type(whole).__name__

    def new_local_head(self) -> LocalHead:
        return LocalHead(*self._sizes, pooled=self._by_sequence)

    def parts(self) -> dict[str, nn.Module]:
        blocks = {f"blocks.{index}": block for index, block in enumerate(self.blocks)}
        return {"embedding": self.embedding, **blocks, "head": self.head}

    def run(self, part: nn.Module, x: Payload, side: Payload) -> Payload:
        return (_call(part, x, side),)

    def logits(self, x: Payload, side: Payload) -> Tensor:
        return _call(self.head, x, side)


class CutTranslator(Translator):
    """An encoder-decoder: its embedding, the encoder's layers one by one, and its decoder.

    Between the parts travels the activation [B, s, d]. An embedding that the encoder shares with
    the decoder is there twice, equal at first; `tied` names the two. The decoder's output has the
    weight of its embedding if the whole model has it so.
    """

    def __init__(self, whole: Any, label_smoothing: float = 0.0) -> None:
        """Cuts `whole`, a model for conditional generation; keeps its modules."""
        super().__init__()
        self.label_smoothing = label_smoothing
        encoder = whole.model.encoder
        self.embedding = shell(encoder, layers=nn.ModuleList())
        self.blocks = nn.ModuleList(_encoder_block(encoder, layer) for layer in encoder.layers)
        self.decoder = _decoder(whole)
        self._sizes = (whole.config.d_model, whole.config.vocab_size)
        shared = whole.model.decoder.embed_tokens.weight is encoder.embed_tokens.weight
        #: Names of parameters that must stay equal: of the decoder, and of the embedding.
        self.tied: dict[str, str] = (
            {"decoder.model.decoder.embed_tokens.weight": "embedding.embed_tokens.weight"}
            if shared
            else {}
        )

    def new_local_head(self) -> LocalHead:
        return LocalHead(*self._sizes, pooled=True)

    def parts(self) -> dict[str, nn.Module]:
        blocks = {f"blocks.{index}": block for index, block in enumerate(self.blocks)}
        return {"embedding": self.embedding, **blocks, "decoder": self.decoder}

    def run(self, part: nn.Module, x: Payload, side: Payload) -> Payload:
        return (_call(part, x, side),)

    def logits(self, x: Payload, side: Payload, target: Tensor) -> Tensor:
        output = self.decoder(
            encoder_outputs=x,
            attention_mask=_attended(side),
            decoder_input_ids=target,
            use_cache=False,
        )
        logits: Tensor = output[0]
        return logits

    def continuation(self, x: Payload, side: Payload) -> Continuation:
        return CachedDecoder(self.decoder, x, side)


class CachedDecoder:
    """A `Continuation` by the library's cache of keys and values."""

    def __init__(self, decoder: nn.Module, x: Payload, side: Payload) -> None:
        self.decoder, self.x, self.side = decoder, x, side
        self.cache: dict[str, Any] = {}  # by the name that this version of the library has for it

    def next_logits(self, tokens: Tensor) -> Tensor:
        output = self.decoder(
            encoder_outputs=self.x,
            attention_mask=_attended(self.side),
            decoder_input_ids=tokens.unsqueeze(1),
            use_cache=True,
            **self.cache,
        )
        name = "cache" if "cache" in output else "past_key_values"
        self.cache = {name: output[name]}
        logits: Tensor = output.logits[:, -1]
        return logits

    def select(self, rows: Tensor) -> None:
        self.x, self.side = (tuple(t[rows] for t in tensors) for tensors in (self.x, self.side))
        for cache in self.cache.values():
            cache.batch_select_indices(rows)


def _encoder_block(encoder: Any, layer: nn.Module) -> nn.Module:
    """The encoder with one layer, which leaves its inputs without positions, norm and dropout."""
    made: Any = shell(
        encoder, layers=nn.ModuleList([layer]), embed_tokens=None, embed_positions=NoPositions()
    )
    if hasattr(made, "layernorm_embedding"):
        made.layernorm_embedding = nn.Identity()
    made.dropout = 0.0  # of the vectors before the first layer
    return made  # type: ignore[no-any-return]  # transformers is untyped


def _decoder(whole: Any) -> nn.Module:
    """The whole model without the encoder, and with an embedding of its own."""
    tied_output = whole.lm_head.weight is whole.model.decoder.embed_tokens.weight
    embedding = shell(whole.model.decoder.embed_tokens)
    embedding.weight = nn.Parameter(embedding.weight.detach().clone())
    inner: Any = shell(
        whole.model, encoder=None, decoder=shell(whole.model.decoder, embed_tokens=embedding)
    )
    if hasattr(inner, "shared"):  # the embedding once more, which `forward` doesn't use
        del inner.shared
    output = TiedOutput(embedding) if tied_output else whole.lm_head
    return shell(whole, model=inner, lm_head=output)  # type: ignore[no-any-return]  # transformers is untyped


def _call(part: nn.Module, x: Payload, side: Payload) -> Tensor:
    """The first output of a part for token numbers [B, s] or vectors [B, s, d]."""
    (given,) = x
    name = "inputs_embeds" if given.is_floating_point() else "input_ids"
    output: Tensor = part(**{name: given}, attention_mask=_attended(side))[0]
    return output


def _attended(side: Payload) -> Tensor:
    """The library's mask [B, s] (int64, 1 for a token) of ours (bool, true for padding)."""
    (padding,) = side
    return (~padding).long()


def shell(module: M, **replaced: nn.Module | None) -> M:
    """A shallow copy of `module` with other submodules under the names of `replaced`.

    It has dictionaries of submodules, parameters, buffers and hooks of its own.
    """
    made = copy.copy(module)
    for name, value in vars(made).items():
        if isinstance(value, (dict, set)):
            vars(made)[name] = copy.copy(value)
    for name, submodule in replaced.items():
        setattr(made, name, submodule)
    return made


class GivenVectors(nn.Module):
    """Stands for the embedding of a part that is given vectors, and returns them unchanged."""

    def __init__(self) -> None:
        super().__init__()
        # transformers 4 reads the type of a module's numbers from its tensors
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *_: object,
        **__: object,
    ) -> Tensor | None:
        return inputs_embeds


class NoPositions(nn.Module):
    """Stands for the position embedding of a part whose vectors have their positions already."""

    zero: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def forward(self, *_: object, **__: object) -> Tensor:
        return self.zero


class TiedOutput(nn.Module):
    """The output projection with the weight [vocabulary, d] of an embedding, which has it alone.

    The embedding is held in a tuple, so that it is no submodule, and its weight is listed once.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = (embedding,)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [..., vocabulary] of vectors [..., d]."""
        return nn.functional.linear(x, self.embedding[0].weight)
