"""Predicted costs and sizes against what the running modules and the engine's transfers have."""

from __future__ import annotations

import dataclasses

import lab

from bridge.payload import size_bytes
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.costs.workload import Workload


def test_predicted_bytes_are_those_on_the_air() -> None:
    batch = next(lab.batches(0, 0))
    work = Workload.of(
        closed_form(lab.SPEC),
        batch_size=12,
        local_steps=1,
        optimizer=OPTIMIZERS["adamw"],
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
    assert 4 * work.model.parameters == size_bytes(list(state.model.parameters()))


def test_memory_is_predicted_for_the_longest_sequences() -> None:
    spec = dataclasses.replace(lab.SPEC, max_length=20)
    short, long = (
        Workload.of(
            closed_form(spec),
            batch_size=12,
            local_steps=1,
            optimizer=OPTIMIZERS["sgd"],
            source_length=length,
            target_length=6,
        )
        for length in (6, 20)
    )
    assert short.saved_bytes == long.saved_bytes == long.block.kept_bytes
