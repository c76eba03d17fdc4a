"""The model of a study: its costs for planning, and the model itself."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING

from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.costs.disk_cache import stored
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.learning import registry
from collapipe_ns3.learning.protocol import BadTask, Learning, WithDigest, WithSpec
from collapipe_ns3.random_streams import number
from collapipe_ns3.run import code_identity

if TYPE_CHECKING:  # planning of built-in models needs no torch, which takes seconds to import
    from collapipe_ns3.learning.split_model import SplitModel


#: Weights are drawn from torch's global generator, which all threads share.
_DRAWING = threading.Lock()


def new_model(config: StudyConfig, task: Learning) -> SplitModel:
    """The task's model with weights drawn from the study's seed.

    It has LoRA and a local head where the study has them. Raises `BadTask` where the model can't be
    built, and `TaskFailed`. Threads take turns, so that each draws the weights of its own seed.
    """
    with _DRAWING:
        return _new_model(config, task)


def _new_model(config: StudyConfig, task: Learning) -> SplitModel:
    with registry.failing_as(config.task.name, "making its model"):
        model = task.model(number(config.seed, "weights"))
    if model.tied and config.training.head_learning_rate_factor != 1:
        raise BadTask(
            "training.head_learning_rate_factor",
            f"expected 1, since first and last part of {config.model.name} have parameters in "
            f"common, which must step alike, not {config.training.head_learning_rate_factor:g}",
        )
    if (lora := config.model.lora) is not None:
        from collapipe_ns3.learning.lora import LoRA, add_lora

        settings = LoRA(lora.rank, lora.alpha, lora.targets, lora.train_a)
        add_lora(model, settings, number(config.seed, "lora"))
    if has_local_head(config):
        with registry.failing_as(config.task.name, "making the local head of its model"):
            model.add_local_head(number(config.seed, "local head"))
    return model


def has_local_head(config: StudyConfig) -> bool:
    """Whether the blocks are trained by a local head."""
    return config.training.mode == "local_head"


def model_costs(config: StudyConfig, task: Learning, *, named: bool = True) -> ModelCosts:
    """The costs of a study's model: closed forms of a built-in one, measured of any other.

    Of a built-in model they are measured too if it has LoRA or computes in bfloat16.

    Measurements are kept on disk for tasks whose data has a digest, and which the study names
    (`named`), so that the identity of their code is known. Raises `BadTask` where the
    model can't be built or its costs follow no polynomial.
    """
    spec = task.spec if isinstance(task, WithSpec) else None
    plain = config.model.lora is None and config.training.precision == "float32"
    if spec is not None and plain:
        return closed_form(spec, task.longest, local_head=has_local_head(config))
    if not named or not isinstance(task, WithDigest):
        return _measured(config, task)
    identity = json.dumps(code_identity.of_study(config).to_json(), sort_keys=True)
    facts = {
        "code": hashlib.sha256(identity.encode()).hexdigest(),
        "data": task.digest(),
        "model": config.model.model_dump(mode="json"),
        "task": config.task.model_dump(mode="json"),
        "label_smoothing": config.training.label_smoothing,
        "mode": config.training.mode,
        "precision": config.training.precision,
        "longest": [task.longest.tokens, task.longest.targets],
    }
    kept = stored("model-costs", facts, lambda: _measured(config, task).to_json())
    return ModelCosts.from_json(kept)


def _measured(config: StudyConfig, task: Learning) -> ModelCosts:
    from collapipe_ns3.costs.measured import NoPolynomial, measure_parts  # imports torch

    model = new_model(config, task).train()
    with registry.failing_as(config.task.name, "measuring the costs of its model"):
        try:
            sample, precision = next(task.batches(0, 0)), config.training.precision
            return measure_parts(model, sample, task.longest, precision)
        except NoPolynomial as error:
            raise BadTask("model", str(error)) from None
