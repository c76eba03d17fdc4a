"""Sizes and options of built-in models, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from collapipe_ns3.learning.spec import ModelSpec


def specs(max_length: st.SearchStrategy[int]) -> st.SearchStrategy[ModelSpec]:
    """Specifications with positions for these lengths."""
    return st.builds(
        ModelSpec,
        source_vocabulary=st.integers(5, 40),
        target_vocabulary=st.integers(5, 40),
        width=st.sampled_from([8, 16, 32]),
        heads=st.sampled_from([2, 4]),
        feed_forward=st.integers(4, 64),
        encoder_blocks=st.integers(1, 3),
        decoder_blocks=st.integers(1, 3),
        max_length=max_length,
        norm=st.sampled_from(["pre", "post"]),
        dropout=st.sampled_from([0.0, 0.1]),
        tied_output=st.booleans(),
        head=st.sampled_from(["decoder", "sequence", "token"]),
        classes=st.integers(2, 9),
        pooling=st.sampled_from(["mean", "first"]),
        label_smoothing=st.sampled_from([0.0, 0.1]),
    )


SPECS = specs(st.just(16))
