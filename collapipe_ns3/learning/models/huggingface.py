"""Models of Hugging Face's `transformers` by name, built for a study and cut into parts.

Encoders (BERT, RoBERTa, DistilBERT, ELECTRA) get a head for tokens or sequences; BART and Marian
translate. A study's section `model` gives sizes, for random weights, or a `checkpoint`: a folder
with `config.json` and safetensors, as `save_pretrained` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from collapipe_ns3.learning.models.huggingface_cut import CutEncoder, CutTranslator
from collapipe_ns3.learning.models.huggingface_load import Family, load, make
from collapipe_ns3.learning.protocol import BadTask
from collapipe_ns3.learning.spec import BOS, EOS, PAD, Head

_ENCODER_KEYS = {
    "width": ("hidden_size",),
    "heads": ("num_attention_heads",),
    "feed_forward": ("intermediate_size",),
    "encoder_blocks": ("num_hidden_layers",),
    "dropout": ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
}
_DISTILBERT_KEYS = {
    "width": ("dim",),
    "heads": ("n_heads",),
    "feed_forward": ("hidden_dim",),
    "encoder_blocks": ("n_layers",),
    "dropout": ("dropout", "attention_dropout", "seq_classif_dropout"),
}
_TRANSLATOR_KEYS = {
    "width": ("d_model",),
    "heads": ("encoder_attention_heads", "decoder_attention_heads"),
    "feed_forward": ("encoder_ffn_dim", "decoder_ffn_dim"),
    "encoder_blocks": ("encoder_layers",),
    "decoder_blocks": ("decoder_layers",),
    "dropout": ("dropout", "attention_dropout"),  # not of activations, which the library has too
}

_CLASSES = {"token": "ForTokenClassification", "sequence": "ForSequenceClassification"}


def encoder_family(name: str, head: Head) -> Family:
    """The encoder `name` with a head."""
    prefix = {
        "bert": "Bert",
        "roberta": "Roberta",
        "distilbert": "DistilBert",
        "electra": "Electra",
    }[name]
    keys = _DISTILBERT_KEYS if name == "distilbert" else _ENCODER_KEYS
    if name == "electra":
        keys = {**keys, "width": ("hidden_size", "embedding_size")}
    model = prefix + _CLASSES[head]
    return Family(name, f"{prefix}Config", model, keys, new=("classifier", "pooler"))


def translator_family(name: str) -> Family:
    """The encoder-decoder `name`."""
    if name == "bart":
        model = "BartForConditionalGeneration"
        return Family("bart", "BartConfig", model, _TRANSLATOR_KEYS, new=("final_logits_bias",))
    new = ("final_logits_bias", "embed_positions")
    return Family("marian", "MarianConfig", "MarianMTModel", _TRANSLATOR_KEYS, new)


def build_encoder(
    model: Mapping[str, Any],
    *,
    vocabulary: int,
    longest: int,
    classes: int,
    head: Head,
    label_smoothing: float = 0.0,
    seed: int,
) -> CutEncoder:
    """An encoder by a study's keys `model`, for at most `longest` of `vocabulary` token numbers.

    A sequence head classifies by the first token. A checkpoint brings all sizes, and the dropout is
    the study's; its head is replaced by a random one if it has other classes. Weights are drawn
    from `seed`, and torch's global generator is left unchanged. Raises `BadTask` if the checkpoint
    is missing or does not fit.
    """
    family = encoder_family(model["name"], head)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if model.get("checkpoint") is None:
            positions = longest + (PAD + 1 if family.kind == "roberta" else 0)
            sizes = {"vocab_size": vocabulary, "max_position_embeddings": positions}
            whole = make(family, model, {**sizes, "num_labels": classes})
        else:
            whole = load(family, model, {"num_labels": classes})
    unused = whole.config.pad_token_id + 1 if family.kind == "roberta" else 0
    _check_fit("tokens", vocabulary, whole.config.vocab_size)
    _check_fit("positions", longest, whole.config.max_position_embeddings - unused)
    return CutEncoder(whole, label_smoothing)


def build_translator(
    model: Mapping[str, Any],
    *,
    source_vocabulary: int,
    target_vocabulary: int,
    longest: int,
    label_smoothing: float = 0.0,
    seed: int,
) -> CutTranslator:
    """An encoder-decoder by a study's keys `model`, as `build_encoder`.

    Source and target have one vocabulary, and at most `longest` tokens.
    """
    family = translator_family(model["name"])
    if source_vocabulary != target_vocabulary:
        message = f"{source_vocabulary} source and {target_vocabulary} target tokens"
        raise BadTask(
            "model.name", f"{family.kind} needs one vocabulary for both languages, not {message}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if model.get("checkpoint") is None:
            sizes = {"vocab_size": source_vocabulary, "max_position_embeddings": longest}
            decoder = {"decoder_start_token_id": BOS, "forced_eos_token_id": None}
            scale = {"scale_embedding": family.kind == "marian"}  # BART normalises instead
            whole = make(family, model, {**sizes, **decoder, **scale})
        else:
            # whole layers are never dropped, as they would be on one node and not on another
            others = ("encoder_layerdrop", "decoder_layerdrop", "activation_dropout")
            whole = load(family, model, dict.fromkeys(others, 0.0))
            _check_tokens(whole.config)
    _check_fit("tokens", source_vocabulary, whole.config.vocab_size)
    _check_fit("positions", longest, whole.config.max_position_embeddings)
    return CutTranslator(whole, label_smoothing)


def _check_fit(what: str, wanted: int, there: int) -> None:
    if wanted > there:
        message = f"the task has {wanted} {what}, and the checkpoint only {there}"
        raise BadTask("model.checkpoint", message)


def _check_tokens(config: Any) -> None:
    """Targets begin with BOS, end with EOS and are padded with PAD, whatever the model."""
    found = (config.pad_token_id, config.decoder_start_token_id, config.eos_token_id)
    if found != (PAD, BOS, EOS):
        message = (
            f"the checkpoint's tokens for padding, start and end are {found}; expected "
            f"{(PAD, BOS, EOS)}"
        )
        raise BadTask("model.checkpoint", message)
