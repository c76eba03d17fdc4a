"""The state of training between rounds: the global model, and the optimizers of each replica."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.engine.parameters import Kept
from collapipe_ns3.learning.draws import draws_anything
from collapipe_ns3.learning.split_model import SplitModel

#: Makes an optimizer for the parameters of one unit.
OptimizerMaker = Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]


@dataclass(slots=True)
class Unit:
    """A part of a replica with its optimizer; `draws` says whether it draws random numbers."""

    name: str
    module: nn.Module
    optimizer: torch.optim.Optimizer
    draws: bool = field(init=False)
    at_start: dict[str, Any] = field(init=False)  # Adagrad has a state before its first step
    holder: str | None = None  # the node that has the optimizer's state, if any has

    def __post_init__(self) -> None:
        self.draws = draws_anything(self.module)
        self.at_start = deepcopy(self.optimizer.state_dict())

    def optimizer_bytes(self) -> int:
        """Bytes of the optimizer's present state: 0 before its first step."""
        states = self.optimizer.state.values()
        tensors = [t for state in states for t in state.values() if isinstance(t, Tensor)]
        return sum(t.numel() * t.element_size() for t in tensors)

    def reset_optimizer(self) -> None:
        """Gives up the optimizer's state, which no reachable node has: it is as at the start."""
        self.optimizer.load_state_dict(deepcopy(self.at_start))
        self.holder = None


@dataclass(slots=True)
class Replica:
    """One pipeline's copy of the model with its optimizers.

    `precision` is that of its computations, see `learning.compute_modes`.
    """

    model: SplitModel
    units: dict[str, Unit]
    precision: str

    def load(self, parameters: Mapping[str, Tensor]) -> None:
        """Overwrites what is averaged, in place; optimizer states stay as they are."""
        load(self.model, parameters)


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
    what nodes and base station keep for the formats of exchanges.

    A run that stores it by `to_checkpoint` and restores it by `load_checkpoint` continues as if it
    had never stopped.
    """

    model: SplitModel
    make_optimizer: OptimizerMaker
    costs: ModelCosts
    precision: str = "float32"
    replicas: dict[tuple[int, int], Replica] = field(default_factory=dict)
    kept: Kept = field(default_factory=Kept)

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
                    name: {"optimizer": unit.optimizer.state_dict(), "holder": unit.holder}
                    for name, unit in replica.units.items()
                }
                for key, replica in self.replicas.items()
            },
            **({"kept": kept} if kept else {}),
        }

    def load_checkpoint(self, data: Mapping[str, Any]) -> None:
        """Restores what `to_checkpoint` returned."""
        self.model.load_state_dict(data["model"])
        device = next(self.model.parameters()).device
        self.kept = Kept.from_checkpoint(data.get("kept", {}), device)
        self.replicas.clear()
        for (cluster, pipeline), units in data["replicas"].items():
            replica = self.replica(cluster, pipeline)
            for name, kept in units.items():
                replica.units[name].optimizer.load_state_dict(kept["optimizer"])
                replica.units[name].holder = kept["holder"]
