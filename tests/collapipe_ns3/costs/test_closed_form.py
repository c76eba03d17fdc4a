"""The closed forms of the built-in models' costs against what is measured on the running parts."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_specs import SPECS

from collapipe_ns3.costs.measured import Bench
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.models import encoder, transformer
from collapipe_ns3.learning.protocol import Lengths
from collapipe_ns3.learning.spec import BOS, PAD, ModelSpec
from collapipe_ns3.learning.split_model import SplitModel


def built(spec: ModelSpec) -> SplitModel:
    return (transformer.build if spec.head == "decoder" else encoder.build)(spec, 0)


def batch(spec: ModelSpec, u: int, s: int, t: int) -> Batch:
    """Full sequences, of which the last source token of one is padding."""
    source = torch.randint(3, 5, (u, s))
    source[0, -1] = PAD
    labels = {
        "decoder": torch.cat([torch.full((u, 1), BOS), torch.randint(3, 5, (u, t - 1))], dim=1),
        "token": torch.randint(spec.classes, (u, s)),
        "sequence": torch.randint(spec.classes, (u,)),
    }[spec.head]
    counts = torch.ones(u, dtype=torch.long)
    return Batch((source,), (source == PAD,), (labels,), counts, spec.head == "token")


@settings(max_examples=40, deadline=None)
@given(SPECS, st.integers(2, 5), st.integers(2, 12), st.integers(3, 12))
def test_costs_of_every_part_are_exact(spec: ModelSpec, u: int, s: int, t: int) -> None:
    model, given_ = built(spec), batch(spec, u, s, t)
    model.add_local_head(seed=0)
    costs = closed_form(spec, local_head=True)
    figures = Bench(model, given_, "float32").run(given_.shape)
    parts = costs.every_part
    assert costs.encoder_blocks == spec.encoder_blocks
    for part, predicted, measured in zip(model.stage_parts().values(), parts, figures, strict=True):
        assert predicted.forward_flops(given_.shape) == measured.forward_flops
        assert predicted.backward_flops(given_.shape) == measured.backward_flops
        assert predicted.kept_bytes(given_.shape) == measured.kept_bytes
        parameters = list(part.parameters())
        assert predicted.parameter_bytes == sum(p.nbytes for p in parameters)
        assert len(predicted.trained) == len(parameters)


@settings(max_examples=20, deadline=None)
@given(SPECS, st.integers(1, 5), st.integers(1, 12), st.integers(2, 12))
def test_sizes_on_the_air_are_those_of_the_tensors(spec: ModelSpec, u: int, s: int, t: int) -> None:
    model, costs, given_ = built(spec), closed_form(spec), batch(spec, u, s, t)
    first, *_ = model.parts().values()
    sent = [*model.run(first, given_.inputs, given_.side), *given_.side]
    for part in (costs.first, *costs.blocks):
        assert part.output.bytes_on_air("fp32", given_.shape) == sum(t.nbytes for t in sent)
        assert part.gradient.bytes_on_air("fp32", given_.shape) == sent[0].nbytes
    assert costs.labels.bytes_on_air("fp32", given_.shape) == given_.labels[0].nbytes


def test_the_longest_labels_are_a_class_or_as_long_as_the_model_takes() -> None:
    def longest(**options: Any) -> Lengths:
        return closed_form(ModelSpec(9, 9, 8, 2, 8, 1, 1, 16, classes=3, **options)).longest

    assert longest() == longest(head="token") == Lengths(16, 16)
    assert longest(head="sequence") == Lengths(16, 1)
