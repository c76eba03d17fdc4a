"""The optimizers of torch: what they cost and keep, how their settings are checked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from collapipe_ns3.costs import disk_cache
from collapipe_ns3.costs.optimizer_measurement import measure, optimizer_classes
from collapipe_ns3.costs.optimizers import OPTIMIZERS, REFUSED, BadOptimizer, optimizer_kind


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("COLLAPIPE_NS3_CACHE", str(tmp_path))
    return tmp_path


def problems(name: str, **settings: Any) -> dict[str, str]:
    with pytest.raises(BadOptimizer) as caught:
        optimizer_kind(name, settings)
    return dict(caught.value.problems)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_table_is_what_the_installed_torch_does(name: str) -> None:
    assert measure(optimizer_classes()[name], {}) == OPTIMIZERS[name]


def test_the_formulas_of_sgd_and_adamw() -> None:
    """The figures that studies were planned with before others could be measured."""
    sgd, adamw = OPTIMIZERS["sgd"], OPTIMIZERS["adamw"]
    assert (sgd.flops, sgd.states, sgd.tensor_bytes) == (2, 0, 0)
    assert (adamw.flops, adamw.states, adamw.tensor_bytes) == (14, 2, 4)
    assert adamw.state_bytes(1000, tensors=3) == 2012
    assert adamw.training_bytes(1000) == 4000


def test_every_optimizer_of_torch_is_in_the_table_or_refused() -> None:
    assert optimizer_classes().keys() <= OPTIMIZERS.keys() | REFUSED.keys()


@pytest.mark.parametrize("name", sorted(REFUSED.keys() & optimizer_classes().keys()))
def test_what_is_refused_can_not_be_measured(name: str) -> None:
    with pytest.raises(BadOptimizer, match="can't be used"):
        measure(optimizer_classes()[name], {})
    assert REFUSED[name] in problems(name)[""]


CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in OPTIMIZERS),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("adam", {"amsgrad": True, "betas": [0.9, 0.98], "eps": 1e-9}),
    ("rmsprop", {"momentum": 0.9, "centered": True}),
]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_states_are_as_large_as_said(name: str, settings: dict[str, Any]) -> None:
    """On a module whose parameters have several shapes."""
    kind = optimizer_kind(name, settings)
    parameters = list(nn.TransformerEncoderLayer(8, 2, 12).parameters())
    optimizer = kind.make(iter(parameters), 0.25)
    assert type(optimizer).__name__.lower() == name
    assert [group["lr"] for group in optimizer.param_groups] == [0.25]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    held = [v for state in optimizer.state.values() for v in state.values() if torch.is_tensor(v)]
    size = sum(parameter.numel() * 4 for parameter in parameters)
    assert sum(v.numel() * v.element_size() for v in held) == kind.state_bytes(
        size, len(parameters)
    )


def test_settings_reach_torch() -> None:
    kind = optimizer_kind("adam", {"betas": [0.8, 0.98], "weight_decay": 0.1})
    (group,) = kind.make(iter([nn.Parameter(torch.ones(1))]), 1e-3).param_groups
    assert (group["betas"], group["weight_decay"]) == ((0.8, 0.98), 0.1)


def test_settings_change_the_costs() -> None:
    plain, momentum = OPTIMIZERS["sgd"], optimizer_kind("sgd", {"momentum": 0.9})
    assert (momentum.flops, momentum.states) == (plain.flops + 2, plain.states + 1)
    decaying = optimizer_kind("sgd", {"weight_decay": 0.1})
    assert (decaying.flops, decaying.states) == (plain.flops + 2, 0)
    assert optimizer_kind("adamw", {"weight_decay": 0}).flops == OPTIMIZERS["adam"].flops
    assert optimizer_kind("adamw", {"amsgrad": True}).states == 3


def test_the_nearest_name_is_offered() -> None:
    assert problems("adamm")[""].endswith("no optimizer 'adamm'; did you mean adam?")


def test_all_wrong_settings_are_found_at_once() -> None:
    found = problems(
        "sgd", momentum=-1, dampening="x", weight_deca=0.1, lr=2, nesterov=3, foreach=True
    )
    assert found == {
        "momentum": "Invalid momentum value: -1",
        "dampening": "expected a finite number, not 'x'",
        "weight_deca": "SGD has no such setting; did you mean weight_decay?",
        "lr": "can't be set here: it is training.learning_rate",
        "nesterov": "expected true or false, not 3",
        "foreach": "can't be set here: it changes no result: torch chooses it",
    }
    assert problems("adamw", betas=[0.9], eps=float("nan")) == {
        "betas": "expected 2 finite numbers, not (0.9,)",
        "eps": "expected a finite number, not nan",
    }
    assert problems("adamw", betas=[0.9, 1.5], eps=-1.0) == {
        "betas": "Invalid beta parameter at index 1: 1.5",
        "eps": "Invalid epsilon value: -1.0",
    }


def test_settings_that_do_not_fit_together_are_found() -> None:
    assert "requires a momentum" in problems("sgd", nesterov=True)["nesterov"]


def planned(code: str) -> str:
    """What a fresh interpreter prints; it stops with an error if torch is loaded."""
    code = f"import sys; sys.modules['torch'] = None\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_planning_needs_no_torch_but_for_what_was_never_measured(cache: Path) -> None:
    code = "from collapipe_ns3.costs.optimizers import optimizer_kind\n"
    assert "flops=16" in planned(code + "print(optimizer_kind('nadam', {}))")
    code += "print(optimizer_kind('sgd', {'momentum': 0.9}))"
    with pytest.raises(subprocess.CalledProcessError):
        planned(code)
    kind = optimizer_kind("sgd", {"momentum": 0.9})
    assert planned(code).strip() == str(kind)
    (file,) = cache.rglob("*.json")
    assert not list(cache.rglob(".*"))
    file.write_text(file.read_text()[:-5])
    with pytest.raises(subprocess.CalledProcessError):
        planned(code)


def spoiled(cache: Path) -> None:
    for file in cache.rglob("*.json"):
        file.write_bytes(b"\xff[")


def forgotten(cache: Path) -> None:
    for file in cache.rglob("*.json"):
        file.write_text("{}")


def barred(cache: Path) -> None:
    """A file is where the folder should be, so that nothing can be written, even by root."""
    for file in cache.rglob("*.json"):
        file.unlink()
    (cache / "things").rmdir()
    (cache / "things").touch()


@pytest.mark.parametrize("damage", [spoiled, forgotten, barred])
def test_a_damaged_cache_is_no_error(cache: Path, damage: Callable[[Path], None]) -> None:
    calls = 0

    def measure_once() -> dict[str, Any]:
        nonlocal calls
        calls += 1
        return {"value": 7}

    facts: Mapping[str, Any] = {"name": "a", "sizes": [1, 2]}
    for _ in range(2):
        assert disk_cache.stored("things", facts, measure_once) == {"value": 7}
    assert calls == 1
    damage(cache)
    assert disk_cache.stored("things", facts, measure_once) == {"value": 7}
    assert calls == 2


def test_the_cache_lies_where_the_platform_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLLAPIPE_NS3_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert disk_cache.directory() == Path("/some/cache/collapipe-ns3")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert disk_cache.directory() == Path.home() / ".cache" / "collapipe-ns3"
