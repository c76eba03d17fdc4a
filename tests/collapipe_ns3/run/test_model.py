"""The model of a study: what it can't have, and costs that are measured once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import studies

from collapipe_ns3.learning import registry
from collapipe_ns3.learning.protocol import BadTask, Learning
from collapipe_ns3.run import model as of_study

SMALL = {"width": 16, "heads": 2, "feed_forward": 16, "encoder_blocks": 2}


def made(task: str, model: str, **changes: Any) -> tuple[Any, Learning]:
    config = studies.config(
        task={"name": task, "cluster_size": 32, "vocabulary": 300, "max_tokens": 16},
        model={"name": model, **SMALL},
        **changes,
    )
    return config, registry.make(task, config.learning_setup(), config.task.settings)


def test_tied_parameters_have_one_learning_rate() -> None:
    training = {"batch_size": 8, "local_steps": 1, "head_learning_rate_factor": 5.0}
    config, task = made("translation", "bart", training=training)
    with pytest.raises(BadTask, match="which must step alike, not 5") as caught:
        of_study.new_model(config, task)
    assert caught.value.key == "training.head_learning_rate_factor"


def test_costs_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAPIPE_NS3_CACHE", str(tmp_path))
    config, task = made("intents", "bert")
    first = of_study.model_costs(config, task)
    monkeypatch.setattr(of_study, "_measured", lambda *_: pytest.fail("measured again"))
    assert of_study.model_costs(config, task) == first
    other, task = made("intents", "bert", training={"batch_size": 8, "precision": "bfloat16"})
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        of_study.model_costs(other, task)
