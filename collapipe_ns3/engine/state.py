"""What training keeps between rounds: the global model, and each replica's optimizer states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from collapipe_ns3.learning.transformer import TranslationModel

#: Makes an optimizer for the parameters of one unit.
OptimizerMaker = Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]


@dataclass(slots=True)
class Unit:
    """The smallest part that is placed on a node: the embedding, one block, or the decoder."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    holder: str | None = None  # the node that keeps the optimizer's state

    def parameter_bytes(self) -> int:
        return sum(p.numel() * p.element_size() for p in self.module.parameters())

    def optimizer_bytes(self) -> int:
        """Bytes of the optimizer's state as it is now: none before the first step."""
        states = self.optimizer.state.values()
        tensors = [t for state in states for t in state.values() if isinstance(t, Tensor)]
        return sum(t.numel() * t.element_size() for t in tensors)

    def begin_anew(self) -> None:
        """Without the optimizer's state, which nobody holds any more."""
        self.optimizer.state.clear()
        self.holder = None


@dataclass(slots=True)
class Replica:
    """One pipeline's copy of the model with its optimizers."""

    model: TranslationModel
    units: dict[str, Unit]

    def load(self, parameters: Mapping[str, Tensor]) -> None:
        """Overwrites the parameters in place; optimizer states stay as they are."""
        self.model.load_state_dict(dict(parameters))


@dataclass(slots=True)
class TrainingState:
    """The global model, and a replica for every (cluster, pipeline) that has trained.

    With `to_checkpoint` and `from_checkpoint` a run goes on as if it had never stopped.
    """

    model: TranslationModel
    make_optimizer: OptimizerMaker
    replicas: dict[tuple[int, int], Replica] = field(default_factory=dict)

    def replica(self, cluster: int, pipeline: int) -> Replica:
        """The replica of a pipeline, made from the global model at its first use."""
        key = (cluster, pipeline)
        if key not in self.replicas:
            model = deepcopy(self.model)
            units = {
                name: Unit(module, self.make_optimizer(module.parameters()))
                for name, module in model.parts().items()
            }
            self.replicas[key] = Replica(model, units)
        return self.replicas[key]

    def to_checkpoint(self) -> dict[str, Any]:
        """Tensors and plain data, for `torch.save`."""
        return {
            "model": self.model.state_dict(),
            "replicas": {
                key: {
                    name: {"optimizer": unit.optimizer.state_dict(), "holder": unit.holder}
                    for name, unit in replica.units.items()
                }
                for key, replica in self.replicas.items()
            },
        }

    def load_checkpoint(self, data: Mapping[str, Any]) -> None:
        """Takes up what `to_checkpoint` gave."""
        self.model.load_state_dict(data["model"])
        self.replicas.clear()
        for (cluster, pipeline), units in data["replicas"].items():
            replica = self.replica(cluster, pipeline)
            for name, kept in units.items():
                replica.units[name].optimizer.load_state_dict(kept["optimizer"])
                replica.units[name].holder = kept["holder"]
