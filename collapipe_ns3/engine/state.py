"""The state of training between rounds: the global model, and the optimizers of each replica."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.engine.late_work import LateWork
from collapipe_ns3.engine.local_part import LocalPart
from collapipe_ns3.engine.parameters import Kept
from collapipe_ns3.learning.aggregation import Parameters, ServerState
from collapipe_ns3.learning.draws import draws_anything
from collapipe_ns3.learning.local_term import LocalTerm
from collapipe_ns3.learning.split_model import SplitModel

#: Makes an optimizer for the parameters of one unit.
OptimizerMaker = Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]


@dataclass(slots=True)
class Unit:
    """A part of a replica with its optimizer; `draws` says whether it draws random numbers.

    `variate` are the control variates of its parameters, by their names in the model; empty where
    the aggregation has none, and before the first round. The node that has the optimizer's state
    has them too.
    """

    name: str
    module: nn.Module
    optimizer: torch.optim.Optimizer
    draws: bool = field(init=False)
    at_start: dict[str, Any] = field(init=False)  # Adagrad has a state before its first step
    holder: str | None = None  # the node that has the optimizer's state, if any has
    variate: Parameters = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.draws = draws_anything(self.module)
        self.at_start = deepcopy(self.optimizer.state_dict())

    def optimizer_bytes(self) -> int:
        """Bytes of the optimizer's present state, 0 before its first step, and of the variates."""
        return self.moment_bytes() + _bytes(self.variate.values())

    def moment_bytes(self) -> int:
        """Bytes of the optimizer's present state, 0 before its first step."""
        states = self.optimizer.state.values()
        return _bytes(t for state in states for t in state.values() if isinstance(t, Tensor))

    def parameter_bytes(self) -> int:
        """Bytes of the parameters that are trained."""
        return _bytes(each for each in self.module.parameters() if each.requires_grad)

    def state(self) -> dict[str, Any]:
        """The optimizer's state and the variates, as tensors and plain data; not copied."""
        variate = {"variate": dict(self.variate)} if self.variate else {}
        return {"optimizer": self.optimizer.state_dict(), **variate}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state` has returned; where the states are, `holder`, stays as it is.

        The optimizer may use the tensors that are given, and change them.
        """
        self.optimizer.load_state_dict(state["optimizer"])
        self.variate = state.get("variate", {})

    def reset_optimizer(self) -> None:
        """Gives up the optimizer's state and the variates, which no reachable node has.

        They are as at the start.
        """
        self.optimizer.load_state_dict(deepcopy(self.at_start))
        self.variate = {}
        self.holder = None


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)


@dataclass(slots=True)
class Replica:
    """One pipeline's copy of the model with its optimizers.

    `precision` is that of its computations, see `learning.compute_modes`, and `local` what an
    aggregation adds to its gradients.
    """

    model: SplitModel
    units: dict[str, Unit]
    precision: str
    local: LocalPart = field(init=False)

    def __post_init__(self) -> None:
        self.local = LocalPart({each: name for name, each in self.model.named_parameters()})

    def load(self, parameters: Mapping[str, Tensor]) -> None:
        """Overwrites what is averaged, in place; optimizer states stay as they are."""
        load(self.model, parameters)

    def begin(self, term: LocalTerm, received: Parameters, server_variate: Parameters) -> None:
        """Begins a round with what its nodes have received; see `LocalPart.begin`."""
        self.load(received)
        self.local.begin(term, received, server_variate)

    def end(self, learning_rate_factors: Sequence[float], head_factor: float) -> None:
        """Computes the control variates after a round, where the aggregation has them.

        The factors are those of the steps that the replica has taken, of the study's learning rate.
        """
        if not self.local.term.variates:
            return
        total, last = math.fsum(learning_rate_factors), list(self.units)[-1]
        for name, unit in self.units.items():
            group = unit.optimizer.param_groups[0]
            is_head = name in (last, "local_head")
            full = group.get("initial_lr", group.get("lr", 0.0)) * (head_factor if is_head else 1.0)
            parameters = unit.module.parameters()
            unit.variate = self.local.next_variates(parameters, unit.variate, full * total)

    @property
    def variate(self) -> Parameters:
        """The control variates of all units."""
        return {name: v for unit in self.units.values() for name, v in unit.variate.items()}


def load(model: SplitModel, averaged: Mapping[str, Tensor]) -> None:
    """Overwrites the tensors of a model that are averaged, in place.

    Raises `ValueError` if any of them is missing, or there are others.
    """
    if different := set(averaged) ^ set(model.averaged()):
        raise ValueError(f"expected the tensors that are averaged; differs: {sorted(different)}")
    model.load_state_dict(dict(averaged), strict=False)


@dataclass(slots=True)
class TrainingState:
    """The global model, and a replica for every (cluster, pipeline) that has trained.

    `costs` are those of the model's parts in this precision, which the engine charges. `kept` is
    what nodes and base station keep for the formats of exchanges, and `server` what the aggregator
    keeps. `late` is what was trained in earlier rounds and has not arrived yet.

    A run that stores it by `to_checkpoint` and restores it by `load_checkpoint` continues as if it
    had never stopped.
    """

    model: SplitModel
    make_optimizer: OptimizerMaker
    costs: ModelCosts
    precision: str = "float32"
    replicas: dict[tuple[int, int], Replica] = field(default_factory=dict)
    kept: Kept = field(default_factory=Kept)
    server: ServerState = field(default_factory=dict)
    late: list[LateWork] = field(default_factory=list)

    def replica(self, cluster: int, pipeline: int) -> Replica:
        """The replica of a pipeline; at the first call, a copy of the global model."""
        key = (cluster, pipeline)
        if key not in self.replicas:
            model = deepcopy(self.model).train()
            units = {
                name: Unit(name, module, self._optimizer(module))
                for name, module in model.stage_parts().items()
            }
            self.replicas[key] = Replica(model, units, self.precision)
        return self.replicas[key]

    def _optimizer(self, part: nn.Module) -> torch.optim.Optimizer:
        trained = [each for each in part.parameters() if each.requires_grad]
        if not trained:  # for which torch makes no optimizer of most kinds
            return torch.optim.SGD([{"params": []}])
        return self.make_optimizer(iter(trained))

    def late_ages(self) -> dict[int, int]:
        """The clusters whose work is on its way, and its age in the next round."""
        return {each.id.cluster: each.result.age for each in self.late}

    def void(self, nodes: Collection[str]) -> None:
        """Gives up what nodes hold that have been away: optimizer states, references, memories."""
        for replica in self.replicas.values():
            for unit in replica.units.values():
                if unit.holder in nodes:
                    unit.reset_optimizer()
        self.kept.void(nodes)

    def to_checkpoint(self) -> dict[str, Any]:
        """Tensors and plain data, for `torch.save`."""
        kept = self.kept.to_checkpoint()
        return {
            "model": self.model.state_dict(),
            "replicas": {
                key: {
                    name: {**unit.state(), "holder": unit.holder}
                    for name, unit in replica.units.items()
                }
                for key, replica in self.replicas.items()
            },
            **({"kept": kept} if kept else {}),
            **({"server": {k: dict(v) for k, v in self.server.items()}} if self.server else {}),
            **(
                {"late": [(each.to_json(), each.tensors()) for each in self.late]}
                if self.late
                else {}
            ),
        }

    def load_checkpoint(self, data: Mapping[str, Any]) -> None:
        """Restores what `to_checkpoint` returned."""
        self.model.load_state_dict(data["model"])
        device = next(self.model.parameters()).device
        self.kept = Kept.from_checkpoint(data.get("kept", {}), device)
        self.server = {key: _on(device, each) for key, each in data.get("server", {}).items()}
        self.late = [
            LateWork.from_json(each, {name: _on(device, held) for name, held in tensors.items()})
            for each, tensors in data.get("late", [])
        ]
        self.replicas.clear()
        for (cluster, pipeline), units in data["replicas"].items():
            replica = self.replica(cluster, pipeline)
            for name, kept in units.items():
                variate = _on(device, kept.get("variate", {}))
                replica.units[name].restore({**kept, "variate": variate})
                replica.units[name].holder = kept["holder"]


def _on(device: torch.device, parameters: Parameters) -> Parameters:
    return {name: tensor.to(device) for name, tensor in parameters.items()}
