"""Evaluation: mean loss, predicted classes, tags and translations."""

from __future__ import annotations

import contextlib

import pytest
import torch

from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.models import build_encoder, build_translator
from collapipe_ns3.learning.models.decoding import Beam
from collapipe_ns3.learning.models.encoder import Encoder
from collapipe_ns3.learning.models.evaluation import (
    chunks,
    evaluating,
    mean_loss,
    predict_classes,
    predict_tags,
    sentence,
    translate,
)
from collapipe_ns3.learning.models.translator import Translator
from collapipe_ns3.learning.spec import BOS, EOS, IGNORED, PAD, Head

SIZES = {"width": 16, "heads": 2, "feed_forward": 24, "encoder_blocks": 1, "decoder_blocks": 1}


def data(head: Head) -> Batch:
    tokens = torch.randint(3, 12, (7, 6), generator=torch.Generator().manual_seed(1))
    tokens[::2, 4:] = PAD
    padding = tokens == PAD
    if head == "sequence":
        return Batch((tokens,), (padding,), (tokens[:, 0] % 4,), torch.ones(7, dtype=torch.long))
    if head == "token":
        tags = torch.where(padding | (tokens < 5), IGNORED, tokens % 4)
        return Batch((tokens,), (padding,), (tags,), (tags != IGNORED).sum(1), aligned=True)
    target = torch.cat([torch.full((7, 1), BOS), tokens, torch.full((7, 1), EOS)], dim=1)
    target[::2, 4:] = torch.tensor([EOS, PAD, PAD, PAD])
    return Batch((tokens,), (padding,), (target,), (target[:, 1:] != PAD).sum(1))


def classifier(head: Head) -> Encoder:
    model = {"name": "encoder", **SIZES, "dropout": 0.3}
    built = build_encoder(model, vocabulary=12, longest=6, classes=4, head=head, seed=1)
    assert isinstance(built, Encoder)
    return built


def translator(tied_output: bool = False) -> Translator:
    model = {"name": "transformer", **SIZES, "dropout": 0.3, "tied_output": tied_output}
    return build_translator(model, source_vocabulary=12, target_vocabulary=12, longest=10, seed=1)


def test_chunks_bound_the_sequences_of_a_batch() -> None:
    parts = chunks(data("token"), 3)
    assert [part.sequences for part in parts] == [3, 3, 1]
    assert torch.equal(torch.cat([p.inputs[0] for p in parts]), data("token").inputs[0])


def test_evaluation_mode_ends_also_after_an_error() -> None:
    model = classifier("token")
    model.head.eval()  # as a module with frozen statistics would be
    modes: list[bool] = []
    with contextlib.suppress(KeyError), evaluating(model):
        modes += [torch.is_grad_enabled(), *(module.training for module in model.modules())]
        raise KeyError
    assert not any(modes)
    assert model.training
    assert not model.head.training
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("head", ["sequence", "token", "decoder"])
def test_results_depend_neither_on_chunks_nor_on_draws(head: Head) -> None:
    model = translator() if head == "decoder" else classifier(head)
    whole = data(head)
    losses = [mean_loss(model, chunks(whole, size)) for size in (7, 3, 1)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    model.eval()
    assert losses[0] == pytest.approx(float(model.uncut_loss(whole).detach()), rel=1e-5)
    model.train()
    if head == "decoder":
        for beam in (None, Beam(3)):
            found = [translate(model, chunks(whole, size), 9, beam) for size in (7, 2)]
            assert found[0] == found[1]
    else:
        predict = predict_classes if head == "sequence" else predict_tags
        assert predict(model, chunks(whole, 7)) == predict(model, chunks(whole, 2))


def test_classes_and_tags_are_the_most_probable_ones() -> None:
    """A model that has learnt the data predicts its labels."""
    for head in ("sequence", "token"):
        model = classifier(head)
        model.eval()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        whole = data(head)
        for _ in range(60):
            optimizer.zero_grad()
            model.uncut_loss(whole).backward()
            optimizer.step()
        (labels,) = whole.labels
        if head == "sequence":
            assert predict_classes(model, [whole]) == labels.tolist()
        else:
            expected = [[tag for tag in row if tag != IGNORED] for row in labels.tolist()]
            assert predict_tags(model, [whole]) == expected


def test_a_translation_has_neither_bos_nor_what_follows_eos() -> None:
    assert sentence([BOS, 5, 6, EOS, PAD, PAD]) == [5, 6]
    assert sentence([BOS, 5, 6]) == [5, 6]
    assert sentence([BOS, PAD, 6, EOS, 7]) == [PAD, 6]


@pytest.mark.parametrize("tied_output", [False, True])
def test_a_translator_repeats_what_it_has_learnt(tied_output: bool) -> None:
    model = translator(tied_output)
    model.eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    whole = data("decoder")
    for _ in range(150):
        optimizer.zero_grad()
        model.uncut_loss(whole).backward()
        optimizer.step()
    expected = [sentence(row) for row in whole.labels[0].tolist()]
    assert translate(model, [whole], 9) == expected
    assert translate(model, [whole], 9, Beam(4)) == expected
