"""Predicted costs and sizes against what the running modules and the engine's transfers have."""

from __future__ import annotations

import dataclasses

import lab
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.payload import size_bytes
from collapipe_ns3.costs.measured import measure
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.learning import architecture
from collapipe_ns3.learning.batch import BatchShape
from collapipe_ns3.learning.spec import ModelSpec
from collapipe_ns3.learning.transformer import build

SPECS = st.builds(
    ModelSpec,
    source_vocabulary=st.integers(5, 40),
    target_vocabulary=st.integers(5, 40),
    width=st.sampled_from([8, 16, 32]),
    heads=st.sampled_from([2, 4]),
    feed_forward=st.integers(4, 64),
    encoder_blocks=st.integers(1, 3),
    decoder_blocks=st.integers(1, 3),
    max_length=st.just(16),
)


@settings(max_examples=15)
@given(SPECS, st.integers(2, 5), st.integers(2, 12), st.integers(3, 12))
def test_predicted_costs_are_those_of_the_running_modules(
    spec: ModelSpec, u: int, s: int, t: int
) -> None:
    model, costs, shape = build(spec, 0), closed_form(spec), BatchShape(u, s, t)
    source = torch.randint(3, 5, (u, s))
    activation, padding = torch.randn(u, s, spec.width), source == 0
    target = torch.randint(3, 5, (u, t))
    blocks = [p for block in model.blocks for p in block.parameters()]
    cases = [
        (model.embedding, model.embedding.parameters(), [source], costs.first),
        (
            lab.segment(list(model.blocks)),
            blocks,
            [activation, padding],
            costs.segment(0, spec.encoder_blocks - 1),
        ),
        (
            model.decoder.loss,
            model.decoder.parameters(),
            [activation, padding, target, 100],
            costs.last,
        ),
    ]
    for function, parameters, inputs, predicted in cases:
        measured = measure(function, list(parameters), inputs)
        assert predicted.forward_flops(shape) == measured.forward_flops
        assert predicted.backward_flops(shape) == measured.backward_flops
        assert predicted.parameter_bytes == measured.parameter_bytes
        assert predicted.kept_bytes(shape) == measured.activation_bytes


@settings(max_examples=15)
@given(SPECS)
def test_the_parts_are_those_of_the_running_model(spec: ModelSpec) -> None:
    modules = {name: list(part.parameters()) for name, part in build(spec, 0).parts().items()}
    assert list(architecture.parts(spec)) == list(modules)
    for name, size in architecture.parts(spec).items():
        assert size.parameters == sum(parameter.numel() for parameter in modules[name])
        assert size.tensors == len(modules[name])
        assert size.bytes == size_bytes(modules[name])


def test_predicted_bytes_are_those_on_the_air() -> None:
    batch = next(lab.batches(0, 0))
    work = Workload.of(
        closed_form(lab.SPEC),
        batch_size=12,
        local_steps=1,
        optimizer="adamw",
        source_length=batch.inputs[0].shape[1],
        target_length=batch.labels[0].shape[1],
    )
    state = lab.fresh(lab.adamw)
    plans = [lab.one_cluster((2, 2), 3), lab.one_cluster((1, 3), 3)]
    _, outcome = lab.run_rounds(plans, state)
    sizes: dict[str, set[int]] = {}
    for each in outcome.deliveries:
        sizes.setdefault(each.kind, set()).add(each.size_bytes)
    block = work.block.parameter_bytes
    assert sizes["activation"] == {4 * work.activation_bytes}
    assert sizes["gradient"] == {4 * work.gradient_bytes}
    assert sizes["labels"] == {4 * work.labels_bytes}
    assert sizes["model"] == {work.upload_bytes, block, 3 * block}
    assert sizes["parameters"] == {work.upload_bytes, block, 3 * block, work.state_bytes[0]}
    assert 4 * work.model_parameters == size_bytes(list(state.model.parameters()))


def test_memory_is_predicted_for_the_longest_sequences() -> None:
    spec = dataclasses.replace(lab.SPEC, max_length=20)
    short, long = (
        Workload.of(
            closed_form(spec),
            batch_size=12,
            local_steps=1,
            optimizer="sgd",
            source_length=length,
            target_length=6,
        )
        for length in (6, 20)
    )
    assert short.saved_bytes == long.saved_bytes == long.block.activation_bytes
