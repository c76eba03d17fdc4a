"""Whole runs in the mode local_head: all schemes plan them, and they resume, replay and learn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import studies
import torch
from run_checks import conserve, same
from torch import Tensor, nn

from collapipe_ns3 import Study
from collapipe_ns3.learning.batch import Batch, Payload
from collapipe_ns3.learning.protocol import BadTask, Lengths, Metric
from collapipe_ns3.learning.split_model import SplitModel
from collapipe_ns3.run.planning import Planning
from collapipe_ns3.run.replay import replay

LOCAL = {**studies.TINY["training"], "mode": "local_head"}


@pytest.mark.parametrize("scheme", ["collapipe", "pipeline", "titanic", "vanilla_fl"])
def test_every_scheme_plans_and_runs_it(scheme: str, tmp_path: Path) -> None:
    study = Study.load(studies.write(tmp_path, training=LOCAL, scheme=scheme))
    result = study.run(out=tmp_path / "run")
    conserve(result)
    carried = result.transfers
    assert not ((carried["src"] == "bs") & (carried["kind"] == "gradient")).any()
    up = (carried["dst"] == "bs") & (carried["kind"] == "activation")
    assert up.any() == (scheme != "vanilla_fl")  # whose devices have the last part as well
    assert result.rounds["loss"].notna().all()


def test_features_travel_in_the_wire_format(tmp_path: Path) -> None:
    """From the last device to the control unit, and from there to the edge server."""
    study = Study.load(studies.write(tmp_path, training={**LOCAL, "wire": "int8"}))
    result = study.run(rounds=1, out=tmp_path / "run")
    conserve(result)
    carried = result.transfers[result.transfers["kind"] == "activation"]
    sizes = {dst: set(rows["bytes"]) for dst, rows in carried.groupby("dst", observed=True)}
    assert sizes["bs"] == sizes["c0.cu"]


def test_it_resumes_and_replays(tmp_path: Path) -> None:
    study = Study.load(studies.write(tmp_path, training=LOCAL))
    whole = study.run(rounds=3, out=tmp_path / "whole")
    study.run(rounds=1, out=tmp_path / "grown")
    study.run(rounds=3, out=tmp_path / "grown", resume=True)
    same(tmp_path / "whole", tmp_path / "grown")
    assert replay(whole.directory, 1).different == ()


def test_the_two_modes_differ_in_what_is_uploaded(tmp_path: Path) -> None:
    """The local head is part of the model between control unit and base station."""
    sizes = {}
    for mode in ("end_to_end", "local_head"):
        study = Study.load(studies.write(tmp_path, training={**LOCAL, "mode": mode}))
        transfers = study.run(rounds=1, out=tmp_path / mode).transfers
        uploaded = (transfers["kind"] == "parameters") & (transfers["dst"] == "bs")
        sizes[mode] = int(transfers[uploaded]["bytes"].iloc[0])
    task = Planning(studies.config()).task
    spec = task.spec  # type: ignore[attr-defined]
    head = 2 * spec.width + (spec.width + 1) * spec.target_vocabulary
    assert sizes["local_head"] - sizes["end_to_end"] == 4 * head


class Bare(SplitModel):
    """A model without a local head."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))

    def parts(self) -> dict[str, nn.Module]:
        return {f"ends.{index}": each for index, each in enumerate(self.ends)}

    def run(self, part: nn.Module, x: Payload, side: Payload) -> Payload:
        return (part(*x),)

    def loss(self, x: Payload, side: Payload, labels: Payload, total: int) -> Tensor:
        return (self.ends[2](*x) - labels[0]).square().sum() / total


class BareTask:
    """A task of one's own with such a model."""

    metric = Metric("loss")
    shares = (1.0,)
    longest = Lengths(1, 1)

    def lengths(self, cluster: int) -> Lengths:
        return self.longest

    def model(self, seed: int) -> SplitModel:
        return Bare()

    def batches(self, cluster: int, round: int) -> Iterator[Batch]:
        numbers = torch.zeros(8, 1, 2)
        while True:
            yield Batch((numbers,), (), (numbers,), torch.ones(8, dtype=torch.long))

    def evaluate(self, model: SplitModel) -> dict[str, float]:
        return {"loss": 0.0}


def test_a_model_without_a_local_head_is_refused_with_the_key() -> None:
    planned = Planning(studies.config(), task=BareTask())
    assert planned.model_costs.local_head is None
    changes: dict[str, Any] = {"training": LOCAL}
    with pytest.raises(BadTask, match="Bare has no local head") as caught:
        Planning(studies.config(**changes), task=BareTask())
    assert caught.value.key == "training.mode"


@pytest.mark.slow
def test_intents_learns(tmp_path: Path) -> None:
    study = Study.load("intents", ["training.mode=local_head"])
    result = study.run(rounds=4, out=tmp_path / "run")
    conserve(result)
    loss, metric = result.rounds["loss"], result.rounds["metric"]
    assert (loss.diff().dropna() < 0).all()
    assert metric.iloc[-1] > 0.4
