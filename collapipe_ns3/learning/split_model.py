"""The contract of a model that is cut into parts, which are placed on nodes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from collapipe_ns3.learning.batch import Batch, Payload
from collapipe_ns3.learning.protocol import BadTask


class SplitModel(nn.Module):
    """Parts that run one after the other: the first takes the inputs, blocks follow, the last has
    the loss.

    A pipeline places the first part on the control unit, the blocks on devices, and the last part
    on the edge server. Between two parts travel the tensors that a part returns and the `side` of
    the batch; gradients travel back for those tensors that have floating-point numbers.

    A subclass says what its parts are (`parts`) and how the last one computes the loss (`loss`).
    No part has a parameter of another part, or keeps a tensor for another part in an attribute:
    the parts are on different nodes.

    A subclass may have a method `uncut(batch) -> Tensor`, the mean loss of a batch by other code
    than that of the parts, such as a library's model as a whole. Only `collapipe-ns3 check` calls
    it, and compares it with the loss of the parts.

    `local_head` is None, except in the training mode of this name: then it is a light head that
    gives the first part and the blocks a loss of their own (`add_local_head`). It is trained and
    averaged as the parts are, but `parts` leaves it out, and evaluation does not use it.
    """

    local_head: nn.Module | None

    def __init__(self) -> None:
        super().__init__()
        self.register_module("local_head", None)

    #: Parameters of the last part, by name, that must stay equal to parameters of the first part,
    #: whose names are the values. Each part has a copy of its own, equal at first. In every step
    #: the two nodes exchange the copies' gradients, and both step by the sum.
    tied: Mapping[str, str] = MappingProxyType({})

    def parts(self) -> dict[str, nn.Module]:
        """All parts in order, by their names: the first, at least one block, and the last.

        Every call returns the same modules, which are attributes of the model, so that `state_dict`
        has their parameters. By convention the names are those in `state_dict`.
        """
        raise NotImplementedError

    def run(self, part: nn.Module, x: Payload, side: Payload) -> Payload:
        """The output of any part except the last: of the first for the inputs of a batch.

        By default the part is called with the tensors of `x`, then those of `side`. The first axis
        of the first tensor that is returned is that of sequences; further tensors may have one
        entry for all sequences. At least one tensor has floating-point numbers.
        """
        output = part(*x, *side)
        return output if isinstance(output, tuple) else (output,)

    def loss(self, x: Payload, side: Payload, labels: Payload, total: int) -> Tensor:
        """The last part: the sum of the losses of all predictions, divided by `total`.

        `x`, `side` and `labels` are those of one micro-batch, and `total` counts the predictions of
        the whole batch, so that the losses of its micro-batches add up to its mean loss. Do not
        divide by the number of sequences here.
        """
        raise NotImplementedError

    def new_local_head(self) -> nn.Module | None:
        """A light head with weights drawn at random, None if the model has no such head.

        A model that defines it also defines `local_loss`.
        """
        return None

    def local_loss(self, x: Payload, side: Payload, labels: Payload, total: int) -> Tensor:
        """The loss of the local head for the output `x` of the last block, as `loss` of the last
        part: the sum of the losses of all predictions, divided by `total`.
        """
        raise NotImplementedError

    def add_local_head(self, seed: int) -> None:
        """Gives the model a local head with weights drawn from `seed`.

        As no gradients are exchanged with the last part, its copies of `tied` parameters are then
        trained apart from those of the first part.

        torch's global generator is left unchanged. Raises `BadTask` if the model has none.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = self.new_local_head()
        if head is None:
            name = type(self).__name__
            message = (
                f"{name} has no local head; its methods new_local_head and local_loss make one"
            )
            raise BadTask("training.mode", message)
        self.local_head = head
        self.tied = {}

    def stage_parts(self) -> dict[str, nn.Module]:
        """Everything that is trained, in the order of stages: `local_head` before the last part."""
        *others, last = self.parts().items()
        heads = {} if self.local_head is None else {"local_head": self.local_head}
        return {**dict(others), **heads, last[0]: last[1]}

    def averaged(self) -> dict[str, Tensor]:
        """The tensors that travel and are averaged: trained parameters and persistent buffers.

        Each is there once, by its first name in `state_dict`. Frozen parameters are the same on
        all nodes. The tensors are the model's own.
        """
        trained = {name for name, each in self.named_parameters() if each.requires_grad}
        kept = trained | {name for name, _ in self.named_buffers()}
        return {name: tensor for name, tensor in self.state_dict().items() if name in kept}

    def encode(self, inputs: Payload, side: Payload) -> Payload:
        """What the last part is given: the output of the first part and all blocks."""
        *parts, _ = self.parts().values()
        x = inputs
        for part in parts:
            x = self.run(part, x, side)
        return x

    def uncut_loss(self, batch: Batch, total: int | None = None) -> Tensor:
        """`loss` of all parts one after the other; `total` is by default the batch's own."""
        x = self.encode(batch.inputs, batch.side)
        return self.loss(x, batch.side, batch.labels, batch.total if total is None else total)


def leaf(tensor: Tensor) -> Tensor:
    """The values of a tensor outside any graph; gradients flow to floating-point numbers."""
    detached = tensor.detach()
    return detached.requires_grad_() if detached.is_floating_point() else detached
