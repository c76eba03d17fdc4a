"""Bytes of a model's units in every format of parameters: the costs' against the encoded tensors.

The costs know the shapes of tensors alone, and planning imports no torch for them.
"""

from __future__ import annotations

from collections.abc import Iterable

import every_model
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_specs import SPECS
from torch import nn

from bridge.formats import FP32, ParameterFormat
from bridge.payload import size_bytes
from bridge.wire import codec
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.exchange import Blocks, Units
from collapipe_ns3.learning.models import encoder, transformer
from collapipe_ns3.learning.spec import ModelSpec
from collapipe_ns3.learning.split_model import SplitModel

FORMATS = [
    FP32,
    ParameterFormat("bf16"),
    ParameterFormat("int8", difference=True),
    ParameterFormat("fp16", difference=True, largest=0.07),
    ParameterFormat("int8", difference=True, largest=0.3),
]


def packed_bytes(parts: Iterable[nn.Module], format: ParameterFormat) -> int:
    """Bytes of the encoded trained parameters."""
    tensors = [p.detach() for part in parts for p in part.parameters() if p.requires_grad]
    encoded = [codec(format).encode(tensor, torch.Generator()) for tensor in tensors]
    return sum(size_bytes(each.tensors) for each in encoded)


def agrees(costs: ModelCosts, model: SplitModel, format: ParameterFormat) -> None:
    """Every unit of the model alone, and all together."""
    first, *blocks, last = model.parts().values()
    heads = [] if model.local_head is None else [model.local_head]
    units = {
        Units(embedding=True): [first, *heads],
        **{Units(blocks=(Blocks(n, n),)): [block] for n, block in enumerate(blocks)},
        Units(decoder=True): [last],
    }
    for unit, parts in units.items():
        assert costs.units_bytes(unit, format) == packed_bytes(parts, format)
    whole = packed_bytes((part for parts in units.values() for part in parts), format)
    assert costs.units_bytes(Units.joined(units), format) == whole


@settings(max_examples=20, deadline=None)
@given(SPECS, st.sampled_from(FORMATS), st.booleans())
def test_units_of_the_built_in_models(
    spec: ModelSpec, format: ParameterFormat, local_head: bool
) -> None:
    model = (transformer.build if spec.head == "decoder" else encoder.build)(spec, 0)
    if local_head:
        model.add_local_head(seed=0)
    agrees(closed_form(spec, local_head=local_head), model, format)


@pytest.mark.parametrize("name", every_model.CASES)
def test_units_of_every_model(name: str) -> None:
    """Models of Hugging Face, with LoRA, with frozen parts, and one of a user's own."""
    pytest.importorskip("transformers")
    pytest.importorskip("peft")
    model, costs = every_model.CASES[name].build(0.0), every_model.costs(name, 0.0)
    for format in FORMATS:
        agrees(costs, model, format)
