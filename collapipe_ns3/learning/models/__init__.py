"""The models by name, and the two functions that build them.

A study chooses a model by the keys of its section `model`. Importing this needs no torch, so that
models are listed and checked without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from collapipe_ns3.learning.protocol import BadTask
from collapipe_ns3.learning.spec import Head, ModelSpec

if TYPE_CHECKING:
    from collapipe_ns3.learning.models.classifier import Classifier
    from collapipe_ns3.learning.models.translator import Translator

#: An encoder has a head that predicts classes; an encoder-decoder predicts a target sequence.
Kind = Literal["encoder", "encoder-decoder"]


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What is known of a model without building it.

    `keys` are the keys of a study's section `model` that it uses, apart from `name`. `library` is
    the package that it needs, empty for the built-in models; the extra `hf` installs it.
    """

    description: str
    kind: Kind
    keys: tuple[str, ...]
    library: str = ""


_SIZES = ("width", "heads", "feed_forward", "encoder_blocks")
_PRETRAINED = (*_SIZES, "dropout", "checkpoint")

#: All models by their names in a study.
MODELS: dict[str, ModelEntry] = {
    "transformer": ModelEntry(
        "encoder-decoder Transformer (Vaswani et al. 2017)",
        "encoder-decoder",
        (*_SIZES, "decoder_blocks", "norm", "dropout", "tied_output"),
    ),
    "encoder": ModelEntry(
        "Transformer encoder with a classifier",
        "encoder",
        (*_SIZES, "norm", "dropout", "pooling"),
    ),
    "bert": ModelEntry("BERT (Devlin et al. 2019)", "encoder", _PRETRAINED, "transformers"),
    "roberta": ModelEntry("RoBERTa (Liu et al. 2019)", "encoder", _PRETRAINED, "transformers"),
    "distilbert": ModelEntry(
        "DistilBERT (Sanh et al. 2019)", "encoder", _PRETRAINED, "transformers"
    ),
    "electra": ModelEntry(
        "ELECTRA's discriminator (Clark et al. 2020)", "encoder", _PRETRAINED, "transformers"
    ),
    "bart": ModelEntry(
        "BART (Lewis et al. 2020)",
        "encoder-decoder",
        (*_PRETRAINED, "decoder_blocks"),
        "transformers",
    ),
    "marian": ModelEntry(
        "Marian (Junczys-Dowmunt et al. 2018)",
        "encoder-decoder",
        (*_PRETRAINED, "decoder_blocks"),
        "transformers",
    ),
}

#: Values of the keys of the section `model` that a study does not give.
DEFAULTS: dict[str, Any] = {
    "width": 64,
    "heads": 4,
    "feed_forward": 256,
    "encoder_blocks": 6,
    "decoder_blocks": 2,
    "norm": "pre",
    "dropout": 0.0,
    "tied_output": False,
    "pooling": "mean",
    "checkpoint": None,
}


def entry(model: Mapping[str, Any], kind: Kind) -> ModelEntry:
    """The entry of the model that a study's section `model` names, by default the built-in one.

    Raises `BadTask` if there is no such model, if it is of another kind, or if its library is not
    installed.
    """
    name = model_name(model, kind)
    found = MODELS.get(name)
    suitable = ", ".join(each for each, item in MODELS.items() if item.kind == kind)
    if found is None:
        raise BadTask("model.name", f"there is no model {name}; expected one of {suitable}")
    if found.kind != kind:
        message = f"this task needs an {kind}, and {name} is an {found.kind}; use one of {suitable}"
        raise BadTask("model.name", message)
    if found.library and find_spec(found.library) is None:
        install = "pip install 'collapipe-ns3[hf]'"
        raise BadTask("model.name", f"{name} needs {found.library}; install it by: {install}")
    return found


def built_in(model: Mapping[str, Any], kind: Kind) -> bool:
    """Whether the model is built-in, so that its costs have closed forms; raises as `entry`."""
    return not entry(model, kind).library


def model_name(model: Mapping[str, Any], kind: Kind) -> str:
    """The name that a study's section `model` gives, by default the built-in model's."""
    return str(model.get("name", "encoder" if kind == "encoder" else "transformer"))


def encoder_spec(
    model: Mapping[str, Any],
    *,
    vocabulary: int,
    longest: int,
    classes: int,
    head: Head,
    label_smoothing: float = 0.0,
) -> ModelSpec:
    """The sizes of the built-in encoder by the keys of a study's section `model`."""
    keys = {**DEFAULTS, **model}
    return ModelSpec(
        source_vocabulary=vocabulary,
        target_vocabulary=0,
        width=keys["width"],
        heads=keys["heads"],
        feed_forward=keys["feed_forward"],
        encoder_blocks=keys["encoder_blocks"],
        decoder_blocks=0,
        max_length=longest,
        norm=keys["norm"],
        dropout=keys["dropout"],
        head=head,
        classes=classes,
        pooling=keys["pooling"],
        label_smoothing=label_smoothing,
    )


def translator_spec(
    model: Mapping[str, Any],
    *,
    source_vocabulary: int,
    target_vocabulary: int,
    longest: int,
    label_smoothing: float = 0.0,
) -> ModelSpec:
    """The sizes of the built-in encoder-decoder by the keys of a study's section `model`."""
    keys = {**DEFAULTS, **model}
    return ModelSpec(
        source_vocabulary=source_vocabulary,
        target_vocabulary=target_vocabulary,
        width=keys["width"],
        heads=keys["heads"],
        feed_forward=keys["feed_forward"],
        encoder_blocks=keys["encoder_blocks"],
        decoder_blocks=keys["decoder_blocks"],
        max_length=longest,
        norm=keys["norm"],
        dropout=keys["dropout"],
        tied_output=keys["tied_output"],
        label_smoothing=label_smoothing,
    )


def build_encoder(
    model: Mapping[str, Any],
    *,
    vocabulary: int,
    longest: int,
    classes: int,
    head: Head,
    label_smoothing: float = 0.0,
    seed: int,
) -> Classifier:
    """A model that predicts one of `classes` for each sequence or token, as `head` says.

    `model` are the keys of a study's section `model`; those that it lacks are `DEFAULTS`, the name
    `encoder`. `vocabulary` is the number of tokens, and `longest` the longest padded length of a
    sequence. Weights are drawn from `seed`, and torch's global generator is left unchanged.

    Raises `BadTask` as `entry` does.
    """
    sizes: dict[str, Any] = {
        "vocabulary": vocabulary,
        "longest": longest,
        "classes": classes,
        "head": head,
        "label_smoothing": label_smoothing,
    }
    if not built_in(model, "encoder"):
        huggingface = import_module("collapipe_ns3.learning.models.huggingface")
        built: Classifier = huggingface.build_encoder(model, **sizes, seed=seed)
        return built
    from collapipe_ns3.learning.models import encoder

    return encoder.build(encoder_spec(model, **sizes), seed)


def build_translator(
    model: Mapping[str, Any],
    *,
    source_vocabulary: int,
    target_vocabulary: int,
    longest: int,
    label_smoothing: float = 0.0,
    seed: int,
) -> Translator:
    """A model that predicts a target sequence for each source sequence.

    As `build_encoder`; the default name is `transformer`, and `longest` is the longest padded
    length of a source or target sequence.
    """
    sizes: dict[str, Any] = {
        "source_vocabulary": source_vocabulary,
        "target_vocabulary": target_vocabulary,
        "longest": longest,
        "label_smoothing": label_smoothing,
    }
    if not built_in(model, "encoder-decoder"):
        huggingface = import_module("collapipe_ns3.learning.models.huggingface")
        built: Translator = huggingface.build_translator(model, **sizes, seed=seed)
        return built
    from collapipe_ns3.learning.models import transformer

    return transformer.build(translator_spec(model, **sizes), seed)
