"""The built-in models: parts, options, and equality of the cut and the uncut model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.models import build_encoder, build_translator
from collapipe_ns3.learning.models.classifier import Classifier
from collapipe_ns3.learning.protocol import BadTask
from collapipe_ns3.learning.spec import BOS, EOS, IGNORED, PAD
from collapipe_ns3.learning.split_model import SplitModel

SIZES = {"width": 16, "heads": 2, "feed_forward": 24, "encoder_blocks": 2, "decoder_blocks": 1}
LONGEST, WORDS, CLASSES = 9, 20, 5


def padded(rows: list[int], length: int) -> torch.Tensor:
    """Token numbers of sequences of these lengths."""
    tokens = torch.randint(3, WORDS, (len(rows), length))
    for row, size in zip(tokens, rows, strict=True):
        row[size:] = PAD
    return tokens


def batch(head: str, seed: int = 0) -> Batch:
    """Twelve sequences of different lengths; the first ones are much shorter than the others."""
    torch.manual_seed(seed)
    lengths = [1, 2, 3, *range(1, 10)]
    source = padded(lengths, LONGEST)
    mask = source == PAD
    if head == "sequence":
        labels = torch.randint(CLASSES, (len(lengths),))
        counts = torch.ones(len(lengths), dtype=torch.long)
        return Batch((source,), (mask,), (labels,), counts)
    if head == "token":
        tags = torch.randint(CLASSES, source.shape)
        tags[mask | (torch.rand(source.shape) < 0.3)] = IGNORED
        return Batch((source,), (mask,), (tags,), (tags != IGNORED).sum(1), aligned=True)
    target = torch.cat([torch.full((12, 1), BOS), padded(lengths[::-1], 8)], dim=1)
    for row, size in zip(target, lengths[::-1], strict=True):
        row[min(size + 1, 8)] = EOS
    target[:, 1:][target[:, 1:] == PAD] = PAD
    return Batch((source,), (mask,), (target,), (target[:, 1:] != PAD).sum(1))


def build(head: str, seed: int = 1, **options: object) -> SplitModel:
    if head == "decoder":
        return build_translator(
            {"name": "transformer", **SIZES, **options},
            source_vocabulary=WORDS,
            target_vocabulary=WORDS,
            longest=LONGEST,
            label_smoothing=0.1,
            seed=seed,
        )
    return build_encoder(
        {"name": "encoder", **SIZES, **options},
        vocabulary=WORDS,
        longest=LONGEST,
        classes=CLASSES,
        head=head,  # type: ignore[arg-type]
        label_smoothing=0.1,
        seed=seed,
    )


def models() -> Iterator[tuple[str, SplitModel]]:
    for norm in ("pre", "post"):
        for dropout in (0.0, 0.2):
            options = {"norm": norm, "dropout": dropout}
            yield "decoder", build("decoder", **options)
            yield "decoder", build("decoder", tied_output=True, **options)
            yield "token", build("token", **options)
            yield "sequence", build("sequence", **options)
            yield "sequence", build("sequence", pooling="first", **options)


def gradients(model: SplitModel) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("sizes", [(12,), (3, 3, 3, 3), (4, 3, 3, 2)])
def test_the_cut_model_equals_the_uncut_one(sizes: tuple[int, ...]) -> None:
    """Losses and gradients, bit for bit, with each part's backward run on its own."""
    for head, model in models():
        whole = batch(head)
        parts = list(model.parts().values())
        for seed, each in enumerate(whole.split(sizes)):
            torch.manual_seed(seed)
            loss = model.uncut_loss(each, whole.total)
            loss.backward()
            expected = gradients(model)

            torch.manual_seed(seed)
            outputs, inputs = [], [each.inputs]
            for part in parts[:-1]:
                outputs.append(model.run(part, inputs[-1], each.side))
                received = [tensor.detach() for tensor in outputs[-1]]
                inputs.append(tuple(t.requires_grad_() for t in received))
            cut = model.loss(inputs[-1], each.side, each.labels, whole.total)
            cut.backward()
            for output, received_ in zip(outputs[::-1], inputs[:0:-1], strict=True):
                torch.autograd.backward(output, [tensor.grad for tensor in received_])
            assert torch.equal(cut, loss)
            found = gradients(model)
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], expected[name]) for name in found)


def test_losses_of_micro_batches_add_up_to_the_mean_loss() -> None:
    for head, model in models():
        whole = batch(head)
        model.eval()
        parts = [model.uncut_loss(each, whole.total) for each in whole.split((4, 3, 3, 2))]
        assert float(sum(parts).detach()) == pytest.approx(
            float(model.uncut_loss(whole).detach()), rel=1e-5
        )


def test_padding_changes_no_prediction() -> None:
    for head, model in models():
        if not isinstance(model, Classifier):
            continue
        model.eval()
        whole = batch(head)
        short = whole.part(2, 3)  # three tokens
        trimmed = Batch(
            (short.inputs[0][:, :3],), (short.side[0][:, :3],), short.labels, short.predictions
        )
        padded, exact = (
            model.logits(model.encode(b.inputs, b.side), b.side) for b in (short, trimmed)
        )
        kept = padded[:, :3] if head == "token" else padded
        assert torch.allclose(kept, exact, atol=1e-6)


def test_every_parameter_belongs_to_exactly_one_part() -> None:
    for _, model in models():
        owned = [id(p) for part in model.parts().values() for p in part.parameters()]
        assert sorted(owned) == sorted(map(id, model.parameters()))
        for name, part in model.parts().items():
            assert dict(model.named_modules())[name] is part
        listed = [tensor.data_ptr() for tensor in model.state_dict().values()]
        assert len(set(listed)) == len(listed)


def test_the_tied_output_is_the_target_embedding() -> None:
    model, untied = build("decoder", tied_output=True), build("decoder")
    names = set(untied.state_dict()) - set(model.state_dict())
    assert names == {"decoder.head.weight"}
    model.uncut_loss(batch("decoder")).backward()
    gradient = dict(model.named_parameters())["decoder.embedding.tokens.weight"].grad
    assert gradient is not None
    assert (gradient.abs().sum(1) > 0).all()  # the output head reaches every word


def test_names_in_the_state_are_stable() -> None:
    names = {name.split(".")[0] for name in build("sequence").state_dict()}
    assert names == {"embedding", "blocks", "head"}
    post = build("token", norm="post").state_dict()
    assert {n for n in post if n.startswith("head")} == {
        "head.classifier.weight",
        "head.classifier.bias",
    }


def test_building_leaves_the_global_generator_unchanged() -> None:
    before = torch.get_rng_state()
    for head in ("decoder", "token"):
        first, second, other = (build(head, seed) for seed in (1, 1, 2))
        weights = [
            model.state_dict()["embedding.tokens.weight"] for model in (first, second, other)
        ]
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_reaches_every_part() -> None:
    """Each part's output or loss depends on the draws."""
    for head in ("decoder", "token"):
        model = build(head, dropout=0.5)
        each = batch(head)
        x = each.inputs
        *parts, _ = model.parts().values()
        for part in parts:
            first, second = (model.run(part, x, each.side)[0] for _ in range(2))
            assert not torch.equal(first, second)
            x = (first.detach(),)
        losses = {model.loss(x, each.side, each.labels, 1).item() for _ in range(2)}
        assert len(losses) == 2


@pytest.mark.parametrize("name", ["no-such-model", "transformer"])
def test_a_task_refuses_models_of_another_kind(name: str) -> None:
    with pytest.raises(BadTask, match="one of encoder, bert") as caught:
        build("token", name=name)
    assert caught.value.key == "model.name"


def test_a_missing_library_is_reported_with_its_installation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("collapipe_ns3.learning.models.find_spec", lambda _: None)
    with pytest.raises(BadTask, match=r"bert needs transformers; install it by: pip install 'coll"):
        build("token", name="bert")


@pytest.mark.parametrize("head", ["decoder", "token"])
def test_sequences_longer_than_the_model_are_refused(head: str) -> None:
    model = build(head)
    long = torch.full((2, LONGEST + 1), 3)
    with pytest.raises(ValueError, match=f"at most {LONGEST} tokens in a sequence, not 10"):
        model.encode((long,), (long == PAD,))
