"""Several differentiable tensors may travel: gradients of each are added up over all parts."""

from __future__ import annotations

import copy

import torch
from relative_bias import RelativeBias

from collapipe_ns3.learning.batch import Batch, Payload


def test_gradients_that_travel_part_by_part_equal_those_of_the_uncut_model() -> None:
    torch.manual_seed(1)
    model = RelativeBias(words=30, width=16, longest=8, blocks=3, classes=4)
    uncut = copy.deepcopy(model)
    tokens = torch.randint(30, (6, 8))
    padding = torch.arange(8) >= torch.tensor([8, 3, 5, 8, 1, 6]).unsqueeze(1)
    labels = torch.randint(4, (6,))
    batch = Batch((tokens,), (padding,), (labels,), torch.ones(6, dtype=torch.long))
    for part in batch.split([2, 1, 3]):
        expected = uncut.uncut_loss(part, batch.total)
        expected.backward()
        assert loss_part_by_part(model, part, batch.total) == expected.item()
    for (name, one), other in zip(model.named_parameters(), uncut.parameters(), strict=True):
        if name == "first.tokens.weight":
            assert one.grad is other.grad is None
        else:
            assert one.grad is not None
            assert one.grad.abs().max() > 0
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-6, atol=1e-8)


def loss_part_by_part(model: RelativeBias, batch: Batch, total: int) -> float:
    """Runs the parts as nodes do, which receive tensors, and send gradients of them back."""
    *parts, _ = model.parts().values()
    steps: list[tuple[Payload, Payload]] = []
    x = batch.inputs
    for part in parts:
        sent = model.run(part, x, batch.side)
        steps.append((x, sent))
        x = tuple(tensor.detach().requires_grad_() for tensor in sent)
    loss = model.loss(x, batch.side, batch.labels, total)
    loss.backward()
    for received, sent in reversed(steps):
        pairs = [
            (tensor, leaf.grad)
            for tensor, leaf in zip(sent, x, strict=True)
            if tensor.requires_grad and leaf.grad is not None
        ]
        torch.autograd.backward([tensor for tensor, _ in pairs], [grad for _, grad in pairs])
        x = received
    return loss.item()
