"""The local head gives the blocks a loss of their own, and is no part of the evaluated model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from collapipe_ns3.costs.measured import measure_parts
from collapipe_ns3.learning.batch import Batch, Payload
from collapipe_ns3.learning.models import build_encoder, build_translator, encoder, transformer
from collapipe_ns3.learning.protocol import BadTask, Lengths
from collapipe_ns3.learning.spec import IGNORED, PAD, Head, ModelSpec
from collapipe_ns3.learning.split_model import SplitModel


def spec(head: Head) -> ModelSpec:
    return ModelSpec(9, 11, 8, 2, 8, 1, 1, 6, head=head, classes=4)


def model(head: Head) -> SplitModel:
    made = (transformer.build if head == "decoder" else encoder.build)(spec(head), 1)
    made.add_local_head(seed=2)
    return made


X = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
PADDING = torch.tensor([[False, False, False], [False, False, True]])


def test_a_classifier_of_sequences_predicts_by_the_mean_of_the_tokens() -> None:
    made = model("sequence")
    head = made.local_head
    assert isinstance(head, nn.Module)
    normed = head.norm(X)
    pooled = torch.stack([normed[0].mean(0), normed[1, :2].mean(0)])
    labels = torch.tensor([3, 1])
    expected = functional.cross_entropy(head.classifier(pooled), labels)
    loss = made.local_loss((X,), (PADDING,), (labels,), 2)
    torch.testing.assert_close(loss, expected)


def test_a_classifier_of_tokens_predicts_each_token() -> None:
    made = model("token")
    head = made.local_head
    assert isinstance(head, nn.Module)
    labels = torch.tensor([[3, IGNORED, 1], [0, 2, IGNORED]])
    logits = head.classifier(head.norm(X))
    expected = functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(made.local_loss((X,), (PADDING,), (labels,), 4), expected)


def test_an_encoder_decoder_predicts_the_words_of_the_target_in_any_order() -> None:
    made = model("decoder")
    labels = torch.tensor([[1, 5, 6, 2], [1, 7, 2, PAD]])
    loss = made.local_loss((X,), (PADDING,), (labels,), 5)
    head = made.local_head
    assert isinstance(head, nn.Module)
    words = head(X, PADDING).log_softmax(-1)
    expected = -(words[0, [5, 6, 2]].sum() + words[1, [7, 2]].sum()) / 5
    torch.testing.assert_close(loss, expected)
    turned = torch.tensor([[1, 6, 5, 2], [1, 7, 2, PAD]])
    assert torch.equal(made.local_loss((X,), (PADDING,), (turned,), 5), loss)


@pytest.mark.parametrize("head", ["decoder", "sequence", "token"])
def test_it_is_averaged_and_repeats_but_is_no_part_of_the_model(head: Head) -> None:
    made, again = model(head), model(head)
    names = {f"local_head.{name}" for name in ("norm.weight", "norm.bias")}
    names |= {f"local_head.{name}" for name in ("classifier.weight", "classifier.bias")}
    assert names <= set(made.averaged())
    assert list(made.stage_parts())[-2] == "local_head"
    assert "local_head" not in made.parts()
    for name in names:
        assert torch.equal(made.averaged()[name], again.averaged()[name])
    without = (transformer.build if head == "decoder" else encoder.build)(spec(head), 1)
    assert not names & set(without.averaged())
    assert list(without.stage_parts()) == list(without.parts())


def test_a_model_without_one_says_what_it_lacks() -> None:
    class Bare(SplitModel):
        def run(self, part: nn.Module, x: Payload, side: Payload) -> Payload:
            return x

    with pytest.raises(BadTask, match="Bare has no local head") as caught:
        Bare().add_local_head(seed=0)
    assert caught.value.key == "training.mode"


SIZES: dict[str, Any] = {"width": 8, "heads": 2, "feed_forward": 8, "encoder_blocks": 1}


@pytest.mark.parametrize("head", ["sequence", "token"])
@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_encoders_of_hugging_face_have_one(name: str, head: Head) -> None:
    pytest.importorskip("transformers")
    made = build_encoder(
        {"name": name, **SIZES}, vocabulary=9, longest=6, classes=4, head=head, seed=1
    )
    labels = torch.randint(4, (2, 3) if head == "token" else (2,))
    trained_by_it(made, labels, aligned=head == "token")


@pytest.mark.parametrize("name", ["bart", "marian"])
def test_translators_of_hugging_face_have_one_and_train_tied_copies_apart(name: str) -> None:
    pytest.importorskip("transformers")
    sizes = {"source_vocabulary": 9, "target_vocabulary": 9, "longest": 6}
    made = build_translator({"name": name, "decoder_blocks": 1, **SIZES}, **sizes, seed=1)
    assert made.tied
    labels = torch.tensor([[1, 5, 6, 2], [1, 7, 2, PAD]])
    trained_by_it(made, labels, aligned=False)
    assert not made.tied


def trained_by_it(made: SplitModel, labels: torch.Tensor, aligned: bool) -> None:
    """Its costs can be measured, and its loss has gradients for all parts except the last."""
    made.add_local_head(seed=2)
    tokens = torch.tensor([[3, 4, 5], [6, 7, PAD]])
    batch = Batch((tokens,), (tokens == PAD,), (labels,), torch.ones(2, dtype=torch.long), aligned)
    costs = measure_parts(made.train(), batch, Lengths(6, 6))
    assert costs.local_head is not None
    assert costs.local_head.output == costs.blocks[-1].output
    assert costs.tied_bytes == 0
    x = made.encode(batch.inputs, batch.side)
    made.local_loss(x, batch.side, batch.labels, batch.total).backward()  # type: ignore[no-untyped-call]
    *others, last = made.stage_parts().values()
    for part in others:
        assert any(p.grad is not None for p in part.parameters())
    assert all(p.grad is None for p in last.parameters())
