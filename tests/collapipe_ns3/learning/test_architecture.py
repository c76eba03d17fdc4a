"""The sizes of the built-in models' parts against the running models."""

from __future__ import annotations

from hypothesis import given, settings
from model_specs import SPECS

from bridge.formats import TensorSize
from collapipe_ns3.learning import architecture
from collapipe_ns3.learning.models import encoder, transformer
from collapipe_ns3.learning.spec import ModelSpec


@settings(max_examples=30, deadline=None)
@given(SPECS)
def test_the_parts_are_those_of_the_running_model(spec: ModelSpec) -> None:
    build = transformer.build if spec.head == "decoder" else encoder.build
    modules = {name: list(part.parameters()) for name, part in build(spec, 0).parts().items()}
    assert list(architecture.parts(spec)) == list(modules)
    for name, size in architecture.parts(spec).items():
        assert list(size.sizes) == sorted(TensorSize.of(p.shape) for p in modules[name])
