"""The sizes of the built-in models' parts against the running models."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from collapipe_ns3.learning import architecture
from collapipe_ns3.learning.models import encoder, transformer
from collapipe_ns3.learning.spec import ModelSpec

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
    norm=st.sampled_from(["pre", "post"]),
    dropout=st.sampled_from([0.0, 0.1]),
    tied_output=st.booleans(),
    head=st.sampled_from(["decoder", "sequence", "token"]),
    classes=st.integers(2, 9),
    pooling=st.sampled_from(["mean", "first"]),
)


@settings(max_examples=30, deadline=None)
@given(SPECS)
def test_the_parts_are_those_of_the_running_model(spec: ModelSpec) -> None:
    build = transformer.build if spec.head == "decoder" else encoder.build
    modules = {name: list(part.parameters()) for name, part in build(spec, 0).parts().items()}
    assert list(architecture.parts(spec)) == list(modules)
    for name, size in architecture.parts(spec).items():
        assert size.parameters == sum(parameter.numel() for parameter in modules[name])
        assert size.tensors == len(modules[name])
