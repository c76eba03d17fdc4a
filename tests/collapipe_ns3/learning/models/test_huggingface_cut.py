"""Models of Hugging Face's `transformers`: the cut model equals the uncut one.

This file is also run with the oldest supported version, by `test_huggingface_oldest.py`.
"""

from __future__ import annotations

import copy

import pytest
import torch
from library_models import (
    MODELS,
    TRANSLATORS,
    batch,
    cut,
    library_name,
    uncut_loss,
    whole,
)
from torch import Tensor

from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.draws import draws, seeded
from collapipe_ns3.learning.models.huggingface_cut import CutTranslator
from collapipe_ns3.learning.models.translator import Recomputation
from collapipe_ns3.learning.split_model import SplitModel

MICRO_BATCHES = [2, 2, 3, 1]


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(("name", "head"), MODELS)
def test_losses_and_gradients_of_four_micro_batches_equal_the_uncut_model(
    name: str, head: str, dropout: float
) -> None:
    uncut = whole(name, head, dropout)
    model = cut(uncut, head)
    data = batch(head)
    for index, part in enumerate(data.split(MICRO_BATCHES)):
        with draws(seeded(1, index)):
            expected = uncut_loss(uncut, part, head, data.total)
        with draws(seeded(1, index)):
            found = model.uncut_loss(part, data.total)
        assert found.item() == expected.item()
        expected.backward()
        found.backward()

    gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
    tied = getattr(model, "tied", {})
    for later, first in tied.items():
        gradients[first] = gradients[first] + gradients.pop(later)
    expected_gradients = {key: parameter.grad for key, parameter in uncut.named_parameters()}
    if head == "decoder":  # the shared embedding
        shared = expected_gradients.pop("model.shared.weight")
        expected_gradients["model.encoder.embed_tokens.weight"] = shared
    assert len(gradients) == len(expected_gradients)
    for key, gradient in gradients.items():
        wanted = expected_gradients[library_name(key, uncut.base_model_prefix)]
        if gradient is None or wanted is None:  # frozen positions
            assert gradient is wanted, key
        elif key in tied.values():
            torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(gradient, wanted), key


def one_after_the_other(model: SplitModel, data: Batch) -> list[Tensor]:
    """Losses of the micro-batches, each through all parts; the draws of each part are its own."""
    losses = []
    for index, part in enumerate(data.split(MICRO_BATCHES)):
        x = part.inputs
        *parts, (last, _) = model.parts().items()
        for name, module in parts:
            with draws(seeded(1, index, name)):
                x = model.run(module, x, part.side)
        with draws(seeded(1, index, last)):
            losses.append(model.loss(x, part.side, part.labels, data.total))
        losses[-1].backward()
    return losses


def part_by_part(model: SplitModel, data: Batch) -> list[Tensor]:
    """The same, where a part runs all micro-batches, the last one first, before the next part."""
    micro_batches = list(enumerate(data.split(MICRO_BATCHES)))
    held = {index: [(part.inputs, part.inputs)] for index, part in micro_batches}
    *parts, (last, _) = model.parts().items()
    for name, module in parts:
        for index, part in reversed(micro_batches):
            received = tuple(
                tensor.detach().requires_grad_(tensor.is_floating_point())
                for tensor in held[index][-1][1]
            )
            with draws(seeded(1, index, name)):
                held[index].append((received, model.run(module, received, part.side)))
    losses = []
    for index, part in micro_batches:
        x = tuple(tensor.detach().requires_grad_() for tensor in held[index][-1][1])
        with draws(seeded(1, index, last)):
            losses.append(model.loss(x, part.side, part.labels, data.total))
        losses[-1].backward()
        for received, sent in reversed(held[index][1:]):
            torch.autograd.backward(sent, [tensor.grad for tensor in x])
            x = received
    return losses


@pytest.mark.parametrize(("name", "head"), MODELS)
def test_the_order_in_which_parts_run_micro_batches_changes_no_bit(name: str, head: str) -> None:
    uncut = whole(name, head, 0.1)
    one, other = cut(uncut, head), cut(uncut, head)
    losses = one_after_the_other(one, batch(head))
    assert len({loss.item() for loss in losses}) == len(losses)
    assert [loss.item() for loss in part_by_part(other, batch(head))] == [
        loss.item() for loss in losses
    ]
    for (key, first), second in zip(one.named_parameters(), other.parameters(), strict=True):
        assert (first.grad is None) == (second.grad is None), key
        assert first.grad is None or torch.equal(first.grad, second.grad), key


@pytest.mark.parametrize(("name", "head"), MODELS)
def test_parts_hold_every_parameter_once_and_have_no_tensor_in_common(name: str, head: str) -> None:
    uncut = whole(name, head, 0.1)
    model = cut(uncut, head)
    names = [key for key, _ in model.named_parameters()]
    stored = model.state_dict(keep_vars=True)
    assert sorted(stored.keys() - {"decoder.final_logits_bias"}) == sorted(names)
    assert len({tensor.data_ptr() for tensor in stored.values()}) == len(stored)
    parts = model.parts()
    assert list(parts) == ["embedding", "blocks.0", "blocks.1", names[-1].split(".")[0]]
    assert [
        f"{part}.{key}" for part, module in parts.items() for key, _ in module.named_parameters()
    ] == names
    more = len(getattr(model, "tied", {}))
    assert len(names) == len(list(uncut.parameters())) + more


@pytest.mark.parametrize(("name", "head"), MODELS)
def test_a_deep_copy_has_the_same_outputs_and_no_tensor_of_the_original(
    name: str, head: str
) -> None:
    model = cut(whole(name, head, 0.0), head)
    replica = copy.deepcopy(model)
    assert replica.state_dict().keys() == model.state_dict().keys()
    part = batch(head).part(0, 3)
    expected = model.uncut_loss(part)
    assert replica.uncut_loss(part).item() == expected.item()
    expected.backward()
    assert all(parameter.grad is None for parameter in replica.parameters())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert replica.uncut_loss(part).item() == expected.item()


@pytest.mark.parametrize(("name", "head"), MODELS)
def test_conversion_reaches_all_tensors_and_leaves_integers(name: str, head: str) -> None:
    model = cut(whole(name, head, 0.0), head)
    integers = [key for key, tensor in model.named_buffers() if not tensor.is_floating_point()]
    part = batch(head).part(0, 3)
    expected = model.uncut_loss(part).item()
    model.to(torch.float64)
    assert model.uncut_loss(part).dtype == torch.float64
    assert model.uncut_loss(part).item() == pytest.approx(expected, rel=1e-5)
    found = [key for key, tensor in model.named_buffers() if not tensor.is_floating_point()]
    assert found == integers


@pytest.mark.parametrize("name", TRANSLATORS)
def test_tied_copies_with_both_gradients_added_stay_equal_and_follow_the_uncut_model(
    name: str,
) -> None:
    uncut = whole(name, "decoder", 0.0)
    model = cut(uncut, "decoder")
    assert isinstance(model, CutTranslator)
    parameters = dict(model.named_parameters())
    ((later, first),) = model.tied.items()
    ours, theirs = (torch.optim.Adam(each.parameters(), lr=1e-3) for each in (model, uncut))
    data = batch("decoder")
    for _ in range(20):
        model.uncut_loss(data).backward()
        uncut_loss(uncut, data, "decoder", data.total).backward()
        total = parameters[first].grad + parameters[later].grad  # type: ignore[operator]
        parameters[first].grad, parameters[later].grad = total, total.clone()
        for optimizer in (ours, theirs):
            optimizer.step()
            optimizer.zero_grad()
    assert torch.equal(parameters[first], parameters[later])
    shared = uncut.get_parameter("model.encoder.embed_tokens.weight")
    torch.testing.assert_close(parameters[first], shared, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TRANSLATORS)
def test_the_cache_of_keys_and_values_gives_the_logits_of_the_whole_decoder(name: str) -> None:
    model = cut(whole(name, "decoder", 0.1), "decoder").eval()
    assert isinstance(model, CutTranslator)
    data = batch("decoder")
    (target,) = data.labels
    rows = torch.tensor([2, 2, 0, 7])
    with torch.no_grad():
        x = model.encode(data.inputs, data.side)
        cached, recomputed = model.continuation(x, data.side), Recomputation(model, x, data.side)
        for step, tokens in enumerate(target.unbind(1)):
            if step == 4:
                for each in (cached, recomputed):
                    each.select(rows)
            given = tokens if step < 4 else tokens[rows]
            torch.testing.assert_close(
                cached.next_logits(given), recomputed.next_logits(given), rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("name", TRANSLATORS)
def test_the_shared_embedding_is_there_twice_and_declared(name: str) -> None:
    model = cut(whole(name, "decoder", 0.0), "decoder")
    assert isinstance(model, CutTranslator)
    parameters = dict(model.named_parameters())
    ((later, first),) = model.tied.items()
    assert parameters[later] is not parameters[first]
    assert torch.equal(parameters[later], parameters[first])


def test_the_projection_of_narrow_embeddings_belongs_to_the_first_part() -> None:
    uncut = whole("electra", "token", 0.0)
    narrow = copy.deepcopy(uncut.config)
    narrow.embedding_size = 8
    torch.manual_seed(1)
    uncut = type(uncut)(narrow)
    model = cut(uncut, "token")
    assert [key for key, _ in model.named_parameters() if "embeddings_project" in key] == [
        "embedding.embeddings_project.weight",
        "embedding.embeddings_project.bias",
    ]
    part = batch("token").part(0, 3)
    assert model.uncut_loss(part).item() == uncut_loss(uncut, part, "token", part.total).item()
