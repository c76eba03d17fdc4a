"""The files of a Hugging Face checkpoint, without importing its library.

A checkpoint is a folder as `save_pretrained` writes it. Only safetensors are read: pickled weights
can run any code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from collapipe_ns3.learning.protocol import BadTask

_CONFIG = "config.json"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def read_config(folder: Path, kind: str) -> dict[str, Any]:
    """`config.json` of a checkpoint; raises `BadTask` if a file is missing or of another kind."""
    if message := missing_files(folder):
        raise BadTask("model.checkpoint", message)
    config = _json(folder / _CONFIG)
    if config.get("model_type") != kind:
        found = config.get("model_type")
        message = f"{folder} has a model of the type {found!r}; expected {kind!r}"
        raise BadTask("model.checkpoint", message)
    return config


def missing_files(folder: Path) -> str:
    """A message that names all files that the folder lacks; empty if there are all."""
    if not folder.is_dir():
        return f"{folder} is not a folder" if folder.exists() else f"there is no folder {folder}"
    needed = [_CONFIG, *_weight_files(folder)]
    missing = [name for name in needed if not (folder / name).is_file()]
    if not missing:
        return ""
    pickles = _pickled(folder) if set(missing) - {_CONFIG} else ""
    return f"{folder} has no file {' and no '.join(missing)}{pickles}"


def _weight_files(folder: Path) -> list[str]:
    if not (folder / _INDEX).is_file():
        return [_WEIGHTS]
    return sorted(set(_json(folder / _INDEX).get("weight_map", {}).values()))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadTask("model.checkpoint", f"{path} can't be read: {error}") from None
    if not isinstance(content, dict):
        raise BadTask("model.checkpoint", f"{path} has no keys")
    return content


def _pickled(folder: Path) -> str:
    files = sorted(path.name for path in folder.glob("*.bin"))
    if not files:
        return ""
    return (
        f"; {files[0]} is a pickle, which is not read because it can run any code: save the model"
        " with `save_pretrained` of transformers, which writes safetensors"
    )
