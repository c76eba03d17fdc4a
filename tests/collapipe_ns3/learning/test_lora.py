"""LoRA: what is trained, exact averages, and equality of the cut and the uncut model."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.lora import LoRA, add_lora, possible_targets, trained
from collapipe_ns3.learning.models import build_encoder, build_translator
from collapipe_ns3.learning.models.huggingface import encoder_family
from collapipe_ns3.learning.models.huggingface_cut import CutEncoder
from collapipe_ns3.learning.models.huggingface_load import make
from collapipe_ns3.learning.protocol import BadTask
from collapipe_ns3.learning.spec import PAD
from collapipe_ns3.learning.split_model import SplitModel

SIZES = {"width": 32, "heads": 4, "feed_forward": 64, "encoder_blocks": 2, "decoder_blocks": 1}
ENCODERS = ("encoder", "bert", "roberta", "distilbert", "electra")


def encoder(name: str) -> SplitModel:
    task: dict[str, Any] = {"vocabulary": 40, "longest": 8, "classes": 5, "head": "sequence"}
    return build_encoder({"name": name, **SIZES}, **task, seed=1)


def batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, 40, (6, 8), generator=generator)
    tokens[torch.arange(8) >= torch.tensor([[8], [3], [5], [8], [1], [6]])] = PAD
    labels = torch.randint(5, (6,), generator=generator)
    return Batch((tokens,), (tokens == PAD,), (labels,), torch.ones(6, dtype=torch.long))


def changes(model: SplitModel) -> dict[str, Tensor]:
    """The change B·A of each layer's weight."""
    tensors = dict(model.named_parameters())
    return {
        name: tensors[name.replace("lora_A", "lora_B")].detach() @ tensor.detach()
        for name, tensor in tensors.items()
        if ".lora_A." in name
    }


def replica(model: SplitModel, seed: int) -> SplitModel:
    """A copy that was trained for some steps on batches of its own."""
    made = copy.deepcopy(model)
    optimizer = torch.optim.Adam([p for p in made.parameters() if p.requires_grad], lr=0.01)
    for step in range(5):
        optimizer.zero_grad()
        made.uncut_loss(batch(10 * seed + step)).backward()
        optimizer.step()
    return made


def average(replicas: list[SplitModel]) -> SplitModel:
    """A model with the average of what the replicas have trained."""
    made = copy.deepcopy(replicas[0])
    named = [dict(each.named_parameters()) for each in replicas]
    with torch.no_grad():
        for name in trained(made):
            tensors = [parameters[name] for parameters in named]
            made.get_parameter(name).copy_(torch.stack(tensors).mean(0))
    return made


@pytest.mark.parametrize("name", ENCODERS)
def test_only_b_and_the_head_are_trained(name: str) -> None:
    model = encoder(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    add_lora(model, LoRA(rank=4), seed=3)
    names = trained(model)
    assert {key for key in names if not key.startswith("head.")} == {
        key for key in model.state_dict() if ".lora_B." in key
    }
    assert sum(key.startswith("blocks.0.") for key in names) == 2
    after = replica(model, 1).state_dict()
    for key, tensor in model.state_dict().items():
        assert torch.equal(after[key], tensor) == (key not in names), key
        origin = key.replace(".base_layer.", ".")
        assert ".lora_" in key or torch.equal(tensor, before[origin]), key


@pytest.mark.parametrize("name", ENCODERS)
def test_the_average_of_b_gives_the_average_of_the_products(name: str) -> None:
    model = encoder(name)
    add_lora(model, LoRA(), seed=3)
    replicas = [replica(model.double(), seed) for seed in (1, 2, 3)]
    products = [changes(each) for each in replicas]
    for key, product in changes(average(replicas)).items():
        expected = torch.stack([each[key] for each in products]).mean(0)
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(product, expected, rtol=1e-12, atol=1e-15)


def test_the_average_of_a_and_b_does_not_if_a_is_trained() -> None:
    model = encoder("bert")
    add_lora(model, LoRA(train_a=True), seed=3)
    assert sum(".lora_A." in key for key in trained(model)) == 4
    replicas = [replica(model.double(), seed) for seed in (1, 2, 3)]
    products = [changes(each) for each in replicas]
    errors = [
        ((product - expected).norm() / expected.norm()).item()
        for key, product in changes(average(replicas)).items()
        for expected in [torch.stack([each[key] for each in products]).mean(0)]
    ]
    assert min(errors) > 0.01


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_the_cut_model_equals_the_uncut_one(name: str) -> None:
    torch.manual_seed(1)
    sizes = {"vocab_size": 40, "max_position_embeddings": 8, "num_labels": 5}
    uncut = make(encoder_family(name, "sequence"), {"name": name, **SIZES}, sizes)
    model = CutEncoder(copy.deepcopy(uncut))
    add_lora(model, LoRA(rank=4), seed=3)
    targets = ["query", "value"] if name == "bert" else ["q_lin", "v_lin"]
    inject_adapter_in_model(LoraConfig(r=4, lora_alpha=16, target_modules=targets), uncut)
    pairs = list(zip(adapters(uncut), adapters(model), strict=True))
    with torch.no_grad():
        for theirs, ours in pairs:
            ours.normal_()
            theirs.copy_(ours)
    data = batch(1)
    for part in data.split([1, 3, 2]):
        logits = uncut(input_ids=part.inputs[0], attention_mask=(~part.side[0]).long()).logits
        expected = nn.functional.cross_entropy(logits, part.labels[0], reduction="sum") / 6
        found = model.uncut_loss(part, 6)
        assert found.item() == expected.item()
        expected.backward()
        found.backward()
    compared = [(theirs.grad, ours.grad) for theirs, ours in pairs if ours.requires_grad]
    assert len(compared) == 4
    assert all(torch.equal(theirs, ours) for theirs, ours in compared)


def adapters(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for name, parameter in model.named_parameters() if ".lora_" in name]


@pytest.mark.parametrize("name", ENCODERS)
def test_evaluation_sees_what_was_learned(name: str) -> None:
    model = encoder(name)
    add_lora(model, LoRA(), seed=3)
    model = replica(model, 1)
    part = batch(5)
    expected = model.uncut_loss(part).item()
    model.eval()
    with torch.no_grad():
        assert model.uncut_loss(part).item() == pytest.approx(expected, rel=1e-5)


def test_a_depends_on_the_seed_alone() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    models = [encoder("encoder") for _ in range(3)]
    for model, seed in zip(models, (3, 3, 4), strict=True):
        add_lora(model, LoRA(), seed)
    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (torch.cat([p.flatten() for p in adapters(m)]) for m in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_translators_decoder_is_trained_whole() -> None:
    sizes: dict[str, Any] = {"source_vocabulary": 40, "target_vocabulary": 40, "longest": 8}
    model = build_translator({"name": "bart", **SIZES}, **sizes, seed=1)
    assert model.tied
    add_lora(model, LoRA(targets=("fc1", "fc2")), seed=3)
    assert not model.tied, "the embedding's copy is frozen, so that there is nothing to exchange"
    parts = {name.partition(".")[0] for name in trained(model)}
    assert parts == {"blocks", "decoder"}
    assert {name.split(".")[4] for name in trained(model) if name.startswith("blocks")} == {
        "fc1",
        "fc2",
    }


def test_layers_that_attention_reads_itself_are_no_targets() -> None:
    model = encoder("encoder")
    block = model.parts()["blocks.0"]
    assert possible_targets(block) == ["linear1", "linear2"]
    for name in ("out_proj", "in_proj_weight", "query"):
        with pytest.raises(BadTask, match=f"no linear layer {name}; .* linear1, linear2"):
            add_lora(model, LoRA(targets=("linear1", name)), seed=3)


def test_a_block_without_usual_layers_needs_targets() -> None:
    model = encoder("encoder")
    block = model.parts()["blocks.0"]
    block.linear1 = nn.Identity()  # type: ignore[assignment]
    with pytest.raises(BadTask, match="no usual layer"):
        add_lora(model, LoRA(), seed=3)
