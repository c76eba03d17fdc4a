"""Wire formats and gradient norms: what the engine sends and measures beside training."""

from __future__ import annotations

from collections.abc import Iterator

import lab
import pytest
import tied_model
import torch
from torch import nn

from bridge import loop as simulated
from bridge.compute import TorchThread
from bridge.fixed import FixedRateNetwork, Link
from bridge.formats import Wire
from bridge.network import TransferKind
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.engine.pipeline_run import Training
from collapipe_ns3.engine.pipeline_step import first_of
from collapipe_ns3.engine.round import run_round
from collapipe_ns3.engine.site import Site
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.learning.batch import Batch, Payload
from collapipe_ns3.outcome import RoundOutcome

PLAN = lab.one_cluster((2, 2), 3, "1f1b")


def run(wire: Wire, seed: int = 1, state: TrainingState | None = None) -> RoundOutcome:
    names = list(dict.fromkeys(lab.nodes(PLAN)))
    network = FixedRateNetwork(names, lab.FAST)
    training = Training(lab.batches, (1.0,), 2, OPTIMIZERS["sgd"], wire=wire, seed=seed)
    with TorchThread() as thread:
        site = Site(network, lab.profiles(names, {}), thread)
        made = run_round(site, state or lab.fresh(lab.Recording()), PLAN, training)
        return simulated.run(network, made)


def test_what_a_relay_lacks_is_missing_at_the_end_too() -> None:
    nodes, kind = ("c0.d0", "c0.cu", "bs"), TransferKind.ACTIVATION
    links = {
        (nodes[0], nodes[1]): Link(1e6, gaps=((8, 16), (40, 48))),
        (nodes[1], nodes[2]): Link(1e6, gaps=((12, 20),)),
    }
    network = FixedRateNetwork(nodes, lab.FAST, links)
    with TorchThread() as thread:
        site = Site(network, lab.profiles(nodes, {}), thread)
        missing = simulated.run(network, site.send_once(nodes, 64, kind))
    assert tuple(missing) == ((8, 20), (40, 48))


@pytest.mark.parametrize(("wire", "width"), [("fp32", 4), ("fp16", 2), ("bf16", 2), ("int8", 1)])
def test_gradients_are_as_many_bytes_as_the_format_says(wire: Wire, width: int) -> None:
    """4 sequences of 6 tokens of width 8 a micro-batch; in int8 each token has a scale."""
    sizes = {d.size_bytes for d in run(wire).deliveries if d.kind == "gradient"}
    assert sizes == {4 * 6 * (8 * width + (4 if wire == "int8" else 0))}
    models = {d.size_bytes for d in run(wire).deliveries if d.kind == "model"}
    assert models == {d.size_bytes for d in run("fp32").deliveries if d.kind == "model"}


def test_coarser_formats_stray_further_and_train_on() -> None:
    outcomes = {wire: run(wire) for wire in ("fp32", "fp16", "bf16", "int8")}
    distortion = [outcome.distortions[0].distortion for outcome in outcomes.values()]
    assert distortion[0] == 0.0
    assert 0 < distortion[1] < distortion[2] < distortion[3] < 1e-2
    for outcome in outcomes.values():
        assert outcome.loss == pytest.approx(outcomes["fp32"].loss, rel=2e-2)


def test_int8_rounds_by_the_seed_and_by_nothing_else() -> None:
    first, second, other = (lab.fresh(lab.Recording()) for _ in range(3))
    run("int8", 1, first)
    run("int8", 1, second)
    run("int8", 2, other)
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name])
    weights = [state.model.decoder.head.weight for state in (first, other)]
    assert not torch.equal(*weights)


def test_norms_are_those_of_the_uncut_models_mean_gradients() -> None:
    outcome = run("fp32")
    (norms,) = outcome.gradients
    assert (norms.cluster, norms.sequences) == (0, 4)
    batch = next(lab.batches(0, 0))
    for count in (1, 2, 3):
        model = lab.model()
        part = batch.part(0, 4 * count)
        model.uncut_loss(part).backward()
        square = sum(float(p.grad.square().sum()) for p in model.parameters())
        assert norms.prefix_squares[count - 1] == pytest.approx(square, rel=1e-4)


@pytest.mark.parametrize("rows", [4, 8], ids=["first micro-batch", "whole batch"])
def test_sequences_without_predictions_train_nothing(rows: int) -> None:
    """Such as sentences of which a tokenizer removes all characters."""

    def drawn(cluster: int, round: int) -> Iterator[Batch]:
        for batch in tied_model.batches(cluster, round):
            (labels,), predictions = batch.labels, batch.predictions
            labels[:rows], predictions[:rows] = -100, 0
            yield batch

    start = tied_model.model()
    state = TrainingState(
        tied_model.model(), lambda each: torch.optim.SGD(each, lr=0.1), tied_model.costs()
    )
    outcome = lab.run_one(lab.one_cluster((2,), 2, "gpipe"), state, draw_batches=drawn)
    (norms,) = outcome.gradients
    assert norms.prefix_squares[0] == 0
    for name, before in start.named_parameters():
        after = state.model.get_parameter(name)
        assert torch.isfinite(after).all()
        if rows == 8:
            assert torch.equal(after, before), name
    assert (outcome.loss == 0) == (rows == 8)


def test_tensors_of_another_size_than_is_simulated_are_an_error() -> None:
    """Costs are measured at a few shapes, and the network is given the sizes that follow."""

    class Shorter(tied_model.Tied):
        def run(self, part: nn.Module, x: Payload, side: Payload) -> Payload:
            (output,) = super().run(part, x, side)
            return (output[:, 1:],) if part is self.second else (output,)

    state = TrainingState(Shorter(), lambda each: torch.optim.SGD(each, lr=0.1), tied_model.costs())
    with pytest.raises(ExceptionGroup) as failed:
        lab.run_one(lab.one_cluster((2,), 2, "gpipe"), state, draw_batches=tied_model.batches)
    assert "stage 1 sends 532 bytes, and by the costs of its parts 660" in str(
        first_of(failed.value)
    )
