"""Models of Hugging Face's `transformers` by a study's keys, and from checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.models import DEFAULTS, build_encoder, build_translator
from collapipe_ns3.learning.models.decoding import greedy
from collapipe_ns3.learning.models.huggingface import encoder_family, translator_family
from collapipe_ns3.learning.models.huggingface_load import make
from collapipe_ns3.learning.protocol import BadTask
from collapipe_ns3.learning.spec import BOS, EOS, PAD
from collapipe_ns3.learning.split_model import SplitModel

SIZES = {"width": 32, "heads": 4, "feed_forward": 64, "encoder_blocks": 2, "decoder_blocks": 1}


def encoder(model: dict[str, Any], seed: int = 1, **changed: Any) -> SplitModel:
    task = {"vocabulary": 50, "longest": 12, "classes": 5, "head": "token"}
    return build_encoder({"name": "bert", **model}, **{**task, **changed}, seed=seed)


def translator(model: dict[str, Any], seed: int = 1, **changed: Any) -> SplitModel:
    task = {"source_vocabulary": 50, "target_vocabulary": 50, "longest": 12}
    return build_translator({"name": "bart", **model}, **{**task, **changed}, seed=seed)


def batch() -> Batch:
    tokens = torch.arange(3, 27).view(2, 12)
    labels = tokens % 5
    return Batch((tokens,), (tokens == PAD,), (labels,), torch.full((2,), 12), aligned=True)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A BERT with another head, as other tools save it."""
    torch.manual_seed(5)
    sizes = {"vocab_size": 60, "max_position_embeddings": 16, "num_labels": 3}
    family = encoder_family("bert", "sequence")
    make(family, {"name": "bert", **SIZES}, sizes).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("build", [encoder, translator])
def test_weights_depend_on_the_seed_alone(build: Callable[..., SplitModel]) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, again, other = (build(SIZES, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items())


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "electra"])
@pytest.mark.parametrize("head", ["token", "sequence"])
def test_sizes_of_the_study_are_the_models(name: str, head: str) -> None:
    model = encoder({"name": name, **SIZES, "dropout": 0.3}, head=head)
    *_, last = model.parts()
    assert last == "head"
    assert len(model.parts()) == SIZES["encoder_blocks"] + 2
    dropouts = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert set(dropouts) == {0.3}
    part = batch()
    logits = model.logits(model.encode(part.inputs, part.side), part.side)  # type: ignore[operator]
    assert logits.shape == ((2, 12, 5) if head == "token" else (2, 5))


@pytest.mark.parametrize("name", ["bart", "marian"])
def test_a_translator_learns_to_repeat_and_decodes_greedily(name: str) -> None:
    model = translator({"name": name, **SIZES}, source_vocabulary=12, target_vocabulary=12)
    source = torch.tensor([[3, 4, 5, 6], [7, 8, 9, PAD], [10, 11, PAD, PAD]])
    padding = source == PAD
    target = torch.tensor(
        [[BOS, 3, 4, 5, 6, EOS], [BOS, 7, 8, 9, EOS, PAD], [BOS, 10, 11, EOS, PAD, PAD]]
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(model.encode((source,), (padding,)), (padding,), (target,), 12).backward()
        optimizer.step()
    assert torch.equal(greedy(model.eval(), (source,), (padding,), 8), target)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["bart", "marian"])
def test_a_translator_needs_one_vocabulary(name: str) -> None:
    with pytest.raises(BadTask, match=r"one vocabulary .* 50 source and 40 target tokens"):
        translator({"name": name, **SIZES}, target_vocabulary=40)


def test_a_checkpoint_gives_all_weights_but_the_head(checkpoint: Path) -> None:
    stored = weights(checkpoint)
    model = encoder({**DEFAULTS, "checkpoint": str(checkpoint)})
    found = model.state_dict()
    query = "encoder.layer.0.attention.self.query.weight"
    for block in range(2):
        wanted = stored[f"bert.{query.replace('.0.', f'.{block}.', 1)}"]
        assert torch.equal(found[f"blocks.{block}.{query}"], wanted)
    assert found["head.classifier.weight"].shape == (5, 32)
    assert all(module.training for module in model.modules())
    repeated = encoder({"checkpoint": str(checkpoint)}).state_dict()
    assert all(torch.equal(tensor, repeated[name]) for name, tensor in found.items())


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(checkpoint / "model.safetensors")


def test_a_checkpoint_in_half_precision_is_loaded_as_32_bit_numbers(checkpoint: Path) -> None:
    from safetensors.torch import save_file

    halves = {name: tensor.half() for name, tensor in weights(checkpoint).items()}
    save_file(halves, checkpoint / "model.safetensors", metadata={"format": "pt"})
    model = encoder({"checkpoint": str(checkpoint), "dropout": 0.2})
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.2}


@pytest.mark.parametrize(
    ("model", "changed", "message"),
    [
        ({"name": "roberta"}, {}, "of the type 'bert'; expected 'roberta'"),
        ({"width": 48}, {}, "48 differs from the checkpoint's, which is 32"),
        ({}, {"vocabulary": 61}, "61 tokens, and the checkpoint only 60"),
        ({}, {"longest": 17}, "17 positions, and the checkpoint only 16"),
    ],
)
def test_a_checkpoint_must_fit(
    checkpoint: Path, model: dict[str, Any], changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadTask, match=message):
        encoder({"checkpoint": str(checkpoint), **model}, **changed)


def test_a_checkpoint_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadTask, match=r"there is no folder .*nowhere"):
        encoder({"checkpoint": str(tmp_path / "nowhere")})
    with pytest.raises(BadTask, match=r"has no file config\.json and no model\.safetensors$"):
        encoder({"checkpoint": str(tmp_path)})
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(BadTask, match=r"config\.json has no keys"):
        encoder({"checkpoint": str(tmp_path)})


def test_pickled_weights_are_not_read(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(BadTask, match=r"has no file model\.safetensors$"):
        encoder({"checkpoint": str(checkpoint)})
    torch.save({}, checkpoint / "pytorch_model.bin")
    with pytest.raises(BadTask, match=r"pytorch_model\.bin is a pickle, which is not read"):
        encoder({"checkpoint": str(checkpoint)})


@pytest.mark.parametrize("kept", [0, 4, 5000])
def test_weights_that_were_cut_off_are_reported(checkpoint: Path, kept: int) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BadTask, match=r"the weights in .* can't be read"):
        encoder({"checkpoint": str(checkpoint)})


def test_the_librarys_messages_are_on_again_after_a_checkpoint(checkpoint: Path) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    assert before[1]
    encoder({"checkpoint": str(checkpoint)})
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_a_file_of_a_checkpoint_in_several_files_is_missed(checkpoint: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BadTask, match=r"no file model-1\.safetensors"):
        encoder({"checkpoint": str(checkpoint)})


def test_weights_missing_from_a_checkpoint_are_reported(checkpoint: Path) -> None:
    from safetensors.torch import save_file

    name = "bert.encoder.layer.1.output.dense.weight"
    others = {key: tensor for key, tensor in weights(checkpoint).items() if key != name}
    save_file(others, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadTask, match=rf"lacks weights of .* or has them in other shapes: {name}"):
        encoder({"checkpoint": str(checkpoint)})


def test_a_translators_checkpoint_must_have_the_programs_special_tokens(tmp_path: Path) -> None:
    sizes = {"vocab_size": 50, "max_position_embeddings": 12, "decoder_start_token_id": BOS}
    make(translator_family("bart"), SIZES, sizes).save_pretrained(tmp_path / "fits")
    translator({"checkpoint": str(tmp_path / "fits")})
    whole = make(translator_family("bart"), SIZES, sizes)
    whole.config.pad_token_id = 3
    whole.save_pretrained(tmp_path / "other")
    with pytest.raises(BadTask, match=r"padding, start and end are \(3, 1, 2\); expected"):
        translator({"checkpoint": str(tmp_path / "other")})
