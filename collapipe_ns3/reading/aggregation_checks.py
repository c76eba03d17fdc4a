"""Checks that a study's aggregation is defined for its optimizer, formats and clusters."""

from __future__ import annotations

import math
from collections.abc import Iterator

from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.learning.aggregators import trimmed
from collapipe_ns3.problems import Problem

#: The settings of SGD with which an aggregation is defined, and why not with others.
_DEFINED_FOR = {
    "scaffold": (("weight_decay",), "its control variates are mean gradients of plain SGD"),
    "fednova": (
        ("momentum", "weight_decay"),
        "it normalises updates by the weights of gradients in them, which are known for SGD",
    ),
}


def aggregation_problems(config: StudyConfig) -> Iterator[Problem]:
    """Combinations for which an aggregation is not defined by its paper."""
    training = config.training
    kind, path = training.aggregation.kind, "training.aggregation"
    if kind in _DEFINED_FOR:
        settings, why = _DEFINED_FOR[kind]
        if training.optimizer != "sgd":
            what = f"{kind} is not defined with {training.optimizer}: {why}"
            yield Problem(path, f"{what}; expected training.optimizer: sgd")
        for key, value in training.optimizer_settings.items():
            if training.optimizer == "sgd" and key not in settings and value:
                what = (
                    f"{kind} is not defined with it: {why}; SGD may have {' and '.join(settings)}"
                )
                yield Problem(f"training.optimizer_settings.{key}", what)
    exchange = training.exchange
    if kind == "scaffold" and exchange is not None:
        for key in ("down", "up"):
            if not getattr(exchange, key).of_parameters().exact:
                what = "control variates travel beside the parameters in fp32, as they add up over"
                yield Problem(f"training.exchange.{key}", f"scaffold: {what} rounds; expected fp32")
    clusters, share = len(config.clusters), training.aggregation.share_trimmed
    if kind == "trimmed_mean" and share and not trimmed(share, clusters):
        what = f"of {clusters} clusters nothing would be left out at either end with {share:g}"
        least = math.ceil(1e3 / clusters) / 1e3
        could = (
            f"expected {least:g} or more, below 0.5"
            if least < 0.5
            else "expected three clusters or more, or 0 for the mean without trimming"
        )
        yield Problem(f"{path}.trim", f"{what}: {could}")
