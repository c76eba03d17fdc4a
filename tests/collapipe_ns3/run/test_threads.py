"""Studies in several threads of one process: they take turns at ns-3, round by round."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import studies
import torch

from collapipe_ns3 import Study
from collapipe_ns3.learning import registry
from collapipe_ns3.learning.models.transformer import TranslationModel
from collapipe_ns3.learning.numbers import Numbers
from collapipe_ns3.result import Result
from collapipe_ns3.run.model import new_model
from collapipe_ns3.run.replay import replay
from collapipe_ns3.schemes import SchemeFailed
from collapipe_ns3.topology.own_scenario import ScenarioFailed


def test_studies_in_threads_come_to_what_they_come_to_alone(tmp_path: Path) -> None:
    study = Study.load(studies.write(tmp_path))
    alone = [studies.finished(2, seed=seed) for seed in (1, 2)]

    def run(seed: int) -> Result:
        return study.run(seed=seed, out=tmp_path / f"beside{seed}")

    with ThreadPoolExecutor(4) as pool:
        beside = [pool.submit(run, seed) for seed in (1, 2)]
        plan = pool.submit(study.plan)
        again = pool.submit(replay, alone[0].directory, 1)
        for one, other in zip(alone, beside, strict=True):
            for table in ("transfers", "devices", "links"):
                frames = getattr(one, table), getattr(other.result(), table)
                pd.testing.assert_frame_equal(*frames, check_exact=True)
        assert plan.result() == study.plan()
        assert again.result().different == ()


def test_threads_draw_the_weights_of_their_own_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are drawn from torch's global generator, which a model sets to its seed."""
    configs = [studies.config(seed=seed) for seed in (1, 2)]
    build = Numbers.model

    def slowly(self: Numbers, seed: int) -> TranslationModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            time.sleep(0.1)  # in which another thread may set its own seed
            return build(self, int(torch.randint(1000, ())))

    monkeypatch.setattr(Numbers, "model", slowly)

    def weights(number: int) -> torch.Tensor:
        config = configs[number]
        task = registry.make("numbers", config.learning_setup(), config.task.settings)
        return next(new_model(config, task).parameters()).detach()

    alone = [weights(0), weights(1)]
    with ThreadPoolExecutor(2) as pool:
        beside = list(pool.map(weights, (0, 1)))
    assert all(map(torch.equal, alone, beside))


def test_a_study_within_a_round_of_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end the simulation that its caller is running in."""
    monkeypatch.chdir(tmp_path)
    inner = Study.load(studies.write(tmp_path))

    def nested(progress: object) -> None:
        inner.run(out=tmp_path / "inner")

    with pytest.raises(BaseException, match="from within a round of another") as caught:
        inner.run(out=tmp_path / "outer", on_progress=nested)
    assert not isinstance(caught.value, SchemeFailed | ScenarioFailed)
    assert not (tmp_path / "inner").exists()
