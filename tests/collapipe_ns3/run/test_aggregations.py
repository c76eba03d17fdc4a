"""Studies with each aggregation: what is refused, and that runs resume and replay."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import studies
import torch
from run_checks import same

from analysis import load, repeatable
from collapipe_ns3 import Study
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.learning.aggregation import FederatedAveraging
from collapipe_ns3.learning.aggregators import FedAdam, FedAsync, FedNova, Scaffold, TrimmedMean
from collapipe_ns3.learning.local_term import LocalTerm
from collapipe_ns3.plan import PlanError
from collapipe_ns3.reading import study_file
from collapipe_ns3.reading.footprint import footprint
from collapipe_ns3.run.planning import Planning
from collapipe_ns3.run.replay import replay

SGD = {"optimizer": "sgd", "learning_rate": 0.05}


def changes(aggregation: object, clusters: int = 3, **training: Any) -> dict[str, Any]:
    """Changes of the tiny study: clusters with two devices each, and this aggregation."""
    given = studies.many(clusters, 2)
    given["training"] = {"batch_size": 8, "local_steps": 2, **training, "aggregation": aggregation}
    return given


def config(aggregation: object, **training: Any) -> StudyConfig:
    return studies.config(**changes(aggregation, **training))


def problems(aggregation: object, clusters: int = 3, **training: Any) -> dict[str, str]:
    found = study_file.check(studies.tiny(**changes(aggregation, clusters, **training)))[1]
    return {each.path: each.message for each in found}


def test_the_defaults_are_those_of_the_papers() -> None:
    assert config("fedavg").aggregator() == FederatedAveraging()
    assert config("fedprox").aggregator() == FederatedAveraging()
    assert config("fedprox").training.aggregation.term == LocalTerm(mu=0.01)
    assert config("fedadam").aggregator() == FedAdam(0.01, 0.9, 0.99, 1e-3)
    assert config("scaffold", **SGD).aggregator() == Scaffold(1.0)
    assert config("fedasync").aggregator() == FedAsync(0.6, 0.5)
    assert config("fedasync").training.aggregation.term == LocalTerm()
    assert config({"kind": "trimmed_mean", "trim": 0.4}).aggregator() == TrimmedMean(0.4, 3)
    momentum = config("fednova", optimizer_settings={"momentum": 0.9}, **SGD)
    assert momentum.aggregator() == FedNova(0.9)
    assert momentum.training.aggregation.term == LocalTerm(fresh_optimizer=True)


def test_a_study_can_be_written_and_read_again() -> None:
    given = config({"kind": "fedasync", "mu": 0.005, "mixing": 1.0})
    assert given.training.aggregation.term == LocalTerm(mu=0.005)
    assert study_file.parse("again", study_file.dump(given)) == given


SCAFFOLD_WHY = "its control variates are mean gradients of plain SGD"


@pytest.mark.parametrize(
    ("aggregation", "training", "path", "says"),
    [
        ("fedsgd", {}, "training.aggregation.kind", "expected"),
        ({"kind": "fedprox", "tau": 1.0}, {}, "training.aggregation.tau", "fedadam has"),
        (
            "scaffold",
            {},
            "training.aggregation",
            f"scaffold is not defined with adamw: {SCAFFOLD_WHY}; expected training.optimizer: sgd",
        ),
        ("fednova", {}, "training.aggregation", "fednova is not defined with adamw"),
        (
            "scaffold",
            {**SGD, "optimizer_settings": {"momentum": 0.9}},
            "training.optimizer_settings.momentum",
            f"scaffold is not defined with it: {SCAFFOLD_WHY}; SGD may have weight_decay",
        ),
        (
            "fednova",
            {**SGD, "optimizer_settings": {"momentum": 0.9, "nesterov": True}},
            "training.optimizer_settings.nesterov",
            "SGD may have momentum and weight_decay",
        ),
        (
            "scaffold",
            {**SGD, "exchange": {"up": {"numbers": "int8", "difference": True}}},
            "training.exchange.up",
            "expected fp32",
        ),
        (
            "trimmed_mean",
            {},
            "training.aggregation.trim",
            "of 3 clusters nothing would be left out at either end with 0.1: expected 0.334 or "
            "more, below 0.5",
        ),
    ],
)
def test_what_no_paper_defines_is_refused_with_the_reason(
    aggregation: object, training: dict[str, Any], path: str, says: str
) -> None:
    assert says in problems(aggregation, **training)[path]


def test_trimming_two_clusters_leaves_none() -> None:
    two = problems({"kind": "trimmed_mean", "trim": 0.49}, clusters=2)
    assert two["training.aggregation.trim"].endswith(
        "expected three clusters or more, or 0 for the mean without trimming"
    )
    assert problems({"kind": "trimmed_mean", "trim": 0.0}, clusters=2) == {}


def test_a_plan_with_formats_is_refused_where_variates_travel() -> None:
    given = changes("scaffold", clusters=1, **SGD)
    given["scheme"] = {"name": "collapipe", "settings": {"formats": ["int8"]}}
    seen = Planning(studies.config(**given))
    assert seen.observation().model.sent == 2
    with pytest.raises(PlanError, match="expected fp32, as control variates travel with it"):
        seen.plan()


def test_planning_sees_what_an_aggregation_costs() -> None:
    plain, proximal, scaffold, momentum = (
        Planning(each).observation()
        for each in (
            config("fedavg", **SGD),
            config("fedprox", **SGD),
            config("scaffold", **SGD),
            config("fednova", optimizer_settings={"momentum": 0.9}, **SGD),
        )
    )
    sgd = OPTIMIZERS["sgd"]
    assert plain.optimizer == sgd
    assert proximal.optimizer == dataclasses.replace(sgd, flops=5, held=1)
    assert scaffold.optimizer == dataclasses.replace(sgd, flops=8, held=2, variates=1)
    # Momentum is there in training, and does not move, as it begins anew.
    assert (momentum.optimizer.training_bytes(100), momentum.optimizer.state_bytes(100, 1)) == (
        300,
        0,
    )
    assert scaffold.optimizer.training_bytes(100) == 500
    assert scaffold.optimizer.state_bytes(100, 1) == 100
    assert (plain.model.sent, scaffold.model.sent) == (1, 2)
    assert (plain.aggregation.of(3, 10), scaffold.aggregation.of(3, 10)) == (60, 200)


def test_the_footprint_counts_what_the_base_station_keeps() -> None:
    sizes = {
        kind: footprint(config(kind, **SGD)).training
        for kind in ("fedavg", "fedprox", "fedadam", "scaffold")
    }
    assert sizes["fedprox"] == sizes["fedavg"]  # nothing is copied here
    model = sizes["fedadam"] - sizes["fedavg"]
    assert model > 0
    # One variate of the server, and one of each of the three clusters; the moments are two.
    assert sizes["scaffold"] - sizes["fedavg"] == 2 * model


def tensors_of(value: Any, path: str = "") -> dict[str, Any]:
    """All leaves of a checkpoint by their places."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {path: value}
    return {k: v for key, each in items for k, v in tensors_of(each, f"{path}/{key}").items()}


def same_checkpoints(one: Path, other: Path) -> bool:
    first, second = (
        tensors_of(torch.load(each / "checkpoint.pt", weights_only=True)) for each in (one, other)
    )
    return first.keys() == second.keys() and all(
        torch.equal(each, second[key]) if isinstance(each, torch.Tensor) else each == second[key]
        for key, each in first.items()
        if "wall" not in key
    )


KINDS: dict[str, tuple[object, dict[str, Any]]] = {
    "fedprox": ({"kind": "fedprox", "mu": 1.0}, {}),
    "fedadam": ("fedadam", {}),
    "fednova": ("fednova", {**SGD, "optimizer_settings": {"momentum": 0.9}}),
    "scaffold": ("scaffold", SGD),
    "fedasync": ("fedasync", {}),
    "trimmed_mean": ({"kind": "trimmed_mean", "trim": 0.34}, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_runs_learn_resume_and_replay(kind: str, tmp_path: Path) -> None:
    aggregation, training = KINDS[kind]
    study = Study(config(aggregation, **training)).with_(scheme="pipeline")
    whole = study.run(rounds=3, out=tmp_path / "whole")
    averaged = Study(config("fedavg", **training)).with_(scheme="pipeline")
    other = averaged.run(rounds=3, out=tmp_path / "averaged")
    assert whole.rounds["loss"].iloc[-1] != other.rounds["loss"].iloc[-1]
    study.run(rounds=2, out=tmp_path / "parts")
    study.run(rounds=3, out=tmp_path / "parts", resume=True)
    same(tmp_path / "whole", tmp_path / "parts")
    assert same_checkpoints(tmp_path / "whole", tmp_path / "parts")
    assert replay(tmp_path / "parts", 2).different == ()


@pytest.mark.slow
def test_without_its_term_fedprox_is_federated_averaging_to_the_bit(tmp_path: Path) -> None:
    for name, aggregation in (("prox", {"kind": "fedprox", "mu": 0.0}), ("avg", "fedavg")):
        Study(config(aggregation)).with_(scheme="pipeline").run(rounds=2, out=tmp_path / name)
    for table in ("rounds", "computes", "transfers", "devices", "pipelines"):
        frames = [repeatable(pd.read_parquet(tmp_path / name / table)) for name in ("prox", "avg")]
        pd.testing.assert_frame_equal(*frames, check_exact=True)
    assert same_checkpoints(tmp_path / "prox", tmp_path / "avg")


@pytest.mark.slow
def test_under_scaffold_times_are_predicted_as_well_as_under_federated_averaging(
    tmp_path: Path,
) -> None:
    """collapipe's predictions count variates in every size, FLOP and byte of memory."""
    errors = {}
    for kind in ("fedavg", "scaffold"):
        study = Study(config(kind, **SGD)).with_(scheme="collapipe")
        study.run(rounds=3, out=tmp_path / kind)
        checks = load(tmp_path / kind).table("predictions").query("round > 0")
        checks = checks[checks["quantity"].isin(("broadcast_s", "gather_s", "upload_s", "round_s"))]
        errors[kind] = (checks["predicted"] / checks["measured"] - 1).abs().max()
    assert errors["scaffold"] < max(0.05, 1.5 * errors["fedavg"])
