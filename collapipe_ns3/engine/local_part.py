"""The local part of an aggregation on the nodes of a replica."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from collapipe_ns3.learning.aggregation import Parameters
from collapipe_ns3.learning.local_term import NO_TERM, LocalTerm, next_variate


@dataclass(slots=True)
class LocalPart:
    """What the nodes of a replica add to gradients in a round.

    `names` are those of its parameters. `received` are the parameters with which it began the
    round, and `server` is the base station's control variate. The replica's own are kept by its
    units, and given here as `own`. A variate that is not there is zero.
    """

    names: Mapping[nn.Parameter, str]
    term: LocalTerm = NO_TERM
    received: Parameters = field(default_factory=dict)
    server: Parameters = field(default_factory=dict)

    def begin(self, term: LocalTerm, received: Parameters, server: Parameters) -> None:
        """Begins a round. The tensors are used, and must not be changed, until it ends."""
        self.term, self.received, self.server = term, received, server

    def change_gradients(self, parameters: Iterable[nn.Parameter], own: Parameters) -> None:
        """Adds the term to the gradients of the parameters of a unit.

        Parameters without a gradient are left out by optimizers and here, but with control
        variates their gradients are zero.
        """
        if not self.term.changes_gradients:
            return
        for parameter in parameters:
            if not parameter.requires_grad:
                continue
            if parameter.grad is None:
                if not self.term.variates:
                    continue
                parameter.grad = torch.zeros_like(parameter)
            name = self.names[parameter]
            with torch.no_grad():
                parameter.grad = self.term.changed(
                    parameter.grad, parameter, self.received[name], self._correction(name, own)
                )

    def next_variates(
        self, parameters: Iterable[nn.Parameter], own: Parameters, rate: float
    ) -> dict[str, Tensor]:
        """The control variates of the parameters of a unit, which the replica has trained.

        `rate` is the sum of the learning rates of their steps; if it is 0, they stay as they are.
        """
        trained = {self.names[each]: each.detach() for each in parameters if each.requires_grad}
        if not rate:
            return {name: own.get(name, torch.zeros_like(w)) for name, w in trained.items()}
        return {
            name: next_variate(w, self.received[name], self._correction(name, own), rate)
            for name, w in trained.items()
        }

    def _correction(self, name: str, own: Parameters) -> Tensor | None:
        """c − cᵢ of a parameter; None where both are zero."""
        server, mine = self.server.get(name), own.get(name)
        if mine is None:
            return server
        return -mine if server is None else server - mine
