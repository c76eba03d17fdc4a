"""Whole models of Hugging Face's `transformers`: made from sizes, or loaded from a checkpoint.

`checkpoint_files` says what a checkpoint is.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from collapipe_ns3.learning.models import DEFAULTS
from collapipe_ns3.learning.models.checkpoint_files import read_config
from collapipe_ns3.learning.protocol import BadTask
from collapipe_ns3.learning.spec import BOS, EOS, PAD


@dataclass(frozen=True, slots=True)
class Family:
    """Where a kind of model lies in the library, and the library's names of a study's keys.

    `new` are words in the names of the weights that a checkpoint may lack.
    """

    kind: str  # `model_type` in a checkpoint's config.json
    config: str
    model: str
    keys: Mapping[str, tuple[str, ...]]
    new: tuple[str, ...] = ()

    def find(self, name: str) -> Any:
        """The class of this name; imports the library."""
        folder = f"transformers.models.{self.kind}"
        file = "configuration" if name == self.config else "modeling"
        return getattr(importlib.import_module(f"{folder}.{file}_{self.kind}"), name)


def make(family: Family, model: Mapping[str, Any], sizes: Mapping[str, Any]) -> Any:
    """A model with random weights by a study's keys `model`, and `sizes` by the library's keys."""
    keys = {**DEFAULTS, **model}
    given = {name: keys[key] for key, names in family.keys.items() for name in names}
    tokens = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
    config = family.find(family.config)(**tokens, **given, **sizes)
    return family.find(family.model)(config).train()


def load(family: Family, model: Mapping[str, Any], sizes: Mapping[str, Any]) -> Any:
    """A model with the weights in the folder `model["checkpoint"]`, as 32-bit numbers.

    Weights of a new head are random, and the dropout is the study's. Raises `BadTask` if files or
    weights are missing, or if the study has a size that differs from the checkpoint's.
    """
    folder = Path(model["checkpoint"]).expanduser()
    stored = read_config(folder, family.kind)
    for key, (name, *_) in family.keys.items():
        if key != "dropout" and name in stored:
            _check_size(key, model.get(key), stored[name])
    dropout = {**DEFAULTS, **model}["dropout"]
    config = family.find(family.config).from_pretrained(folder, local_files_only=True)
    config.update({**dict.fromkeys(family.keys["dropout"], dropout), **sizes})
    with _quiet(), _readable(folder):
        whole, report = family.find(family.model).from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    # transformers 5 gives shapes with the names of those whose shapes differ
    mismatched = {key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]}
    absent = mismatched.union(report["missing_keys"])
    needed = sorted(name for name in absent if not any(word in name for word in family.new))
    if needed:
        named = ", ".join(needed[:5]) + (", …" if len(needed) > 5 else "")
        message = f"{folder} lacks weights of {family.model}, or has them in other shapes: {named}"
        raise BadTask("model.checkpoint", message)
    return whole.train()


def _check_size(key: str, given: object, stored: object) -> None:
    """A size in the study must be the checkpoint's or the default, which a study has without it."""
    if given not in (None, DEFAULTS[key], stored):
        message = f"{given} differs from the checkpoint's, which is {stored}; leave it out"
        raise BadTask(f"model.{key}", message)


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Raises `BadTask` if the weights are not valid safetensors, such as a truncated file."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        message = f"the weights in {folder} can't be read: {error}"
        raise BadTask("model.checkpoint", message) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bar and its warnings about a new head."""
    logging = importlib.import_module("transformers.utils.logging")

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
