"""Over a transport that repairs nothing, activations miss what was lost and models do not."""

from __future__ import annotations

import dataclasses

import lab
import pytest
import torch

from bridge.fixed import Link

PLAN = lab.one_cluster((2, 2), 2)
GAPPY = Link(lab.FAST.rate_bps, gaps=((8, 16),))


def run(link: Link) -> tuple[lab.RoundOutcome, dict[str, list[torch.Tensor]]]:
    """A round, and the gradients of each parameter."""
    recording = lab.Recording()
    state = lab.fresh(recording)
    outcome = lab.run_one(PLAN, state, links={("c0.d0", "c0.d1"): link})
    return outcome, recording.by_name(state.replica(0, 0).model)


def test_two_elements_of_an_activation_are_zeroed_and_the_rest_scaled() -> None:
    """The uncut model with the same surgery between its second and third block."""
    outcome, gradients = run(GAPPY)
    model = lab.model()
    batch = next(lab.batches(0, 0))
    for part in batch.split([6, 6]):
        x = model.embedding(part.inputs[0])
        for number, block in enumerate(model.blocks):
            if number == 2:
                kept = torch.ones(x.numel())
                kept[2:4] = 0  # bytes 8 to 16
                arrived = x.detach() * (kept / (1 - 2 / x.numel())).view_as(x)
                x = x + (arrived - x.detach())
            x = block(x, src_key_padding_mask=part.side[0])
        model.loss((x,), part.side, part.labels, batch.total).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name][0], parameter.grad)
    _, smooth = run(lab.FAST)
    assert not torch.allclose(smooth["decoder.head.weight"][0], gradients["decoder.head.weight"][0])
    assert {d.outcome for d in outcome.deliveries if d.kind == "activation"} == {
        "delivered",
        "partial",
    }


def test_distortion_is_measured() -> None:
    outcome, _ = run(GAPPY)
    (found,) = outcome.distortions
    assert 0 < found.distortion < 0.2
    smooth, _ = run(lab.FAST)
    assert smooth.distortions == (dataclasses.replace(found, distortion=0.0),)


@pytest.mark.parametrize("gaps", [((2, 9), (40, 300)), ((5, 9), (40, 41))])
def test_a_model_is_sent_again_where_it_has_gaps(gaps: tuple[tuple[int, int], ...]) -> None:
    """The bytes that were lost are sent again until none are (a gap hits each transfer's head)."""
    state = lab.fresh(lab.adamw)
    link = Link(lab.FAST.rate_bps, gaps=gaps)
    outcome = lab.run_one(PLAN, state, links={("c0.cu", "c0.d0"): link, ("c0.d0", "c0.cu"): link})
    for kind in ("model", "parameters"):
        over = [d for d in outcome.deliveries if d.kind == kind and "c0.d0" in (d.src, d.dst)]
        whole = over[0].size_bytes
        arrived = sum(d.size_bytes - sum(e - b for b, e in d.lost) for d in over)
        assert arrived == whole
        assert len(over) > 1
