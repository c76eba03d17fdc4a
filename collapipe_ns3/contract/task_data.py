"""The checks of a task's batches, metrics and records."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from collapipe_ns3.contract import Violation
from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.protocol import (
    Learning,
    Lengths,
    Metric,
    Reporting,
    WithDigest,
    WithFiles,
)
from run_directory.whole import TASK_FILE

#: Batches of each cluster and round that are checked.
_BATCHES = 3


def first_batches(task: Learning, cluster: int, round: int) -> list[Batch]:
    """The first batches of a cluster in a round."""
    found = list(itertools.islice(task.batches(cluster, round), _BATCHES))
    if len(found) < _BATCHES:
        raise Violation(
            f"cluster {cluster}, round {round}: expected endless batches, not {len(found)}"
        )
    return found


def expect_metric(task: Learning) -> None:
    """Raises `Violation` unless the task has a main metric."""
    if not isinstance(task.metric, Metric) or not task.metric.name:
        raise Violation(f"expected `metric` to be a Metric with a name, not {task.metric!r}")


def expect_shares(shares: Sequence[float], clusters: int) -> None:
    """Raises `Violation` unless there is a share for each cluster, and they add up to 1."""
    if len(shares) != clusters:
        raise Violation(f"expected a share for each of {clusters} clusters, not {len(shares)}")
    if not all(share > 0 for share in shares):
        raise Violation(f"expected shares above 0, not {list(shares)}")
    if abs(math.fsum(shares) - 1) > 1e-9:
        raise Violation(f"expected shares that add up to 1, not to {math.fsum(shares)}")


def expect_lengths(task: Learning, clusters: int) -> None:
    """Raises `Violation` unless each cluster's usual lengths are at most the longest."""
    longest = task.longest
    named = {"longest": longest, **{f"lengths({n})": task.lengths(n) for n in range(clusters)}}
    for name, lengths in named.items():
        if not isinstance(lengths, Lengths):
            raise Violation(f"expected {name} to be Lengths, not {lengths!r}")
        for key in ("tokens", "targets"):
            value, most = getattr(lengths, key), getattr(longest, key)
            if not isinstance(value, int) or not 1 <= value <= most:
                raise Violation(f"{name}.{key}: expected an integer from 1 to {most}, not {value}")


def batch_problems(batch: object, sequences: int, longest: Lengths) -> Iterator[str]:
    """What is wrong with a batch that should have this number of sequences."""
    if not isinstance(batch, Batch):
        yield f"expected a Batch, not {type(batch).__name__}"
        return
    groups = {"inputs": batch.inputs, "side": batch.side, "labels": batch.labels}
    for group, tensors in groups.items():
        if not isinstance(tensors, tuple) or not all(isinstance(t, Tensor) for t in tensors):
            yield f"{group}: expected a tuple of tensors"
            return
    if not batch.inputs:
        yield "inputs: expected at least one tensor"
    predictions = batch.predictions
    if not isinstance(predictions, Tensor) or predictions.dtype != torch.int64:
        kind = getattr(predictions, "dtype", type(predictions).__name__)
        yield f"predictions: expected an int64 tensor, not {kind}"
        return
    if predictions.dim() != 1 or len(predictions) != sequences:
        found = list(predictions.shape)
        yield f"predictions: expected one number for each of {sequences} sequences, not {found}"
        return
    if int(predictions.min()) < 0 or not int(predictions.sum()):
        yield "predictions: expected numbers of at least 0, and not all 0"
    for group, tensors in groups.items():
        for n, tensor in enumerate(tensors):
            where = f"{group}[{n}]"
            if tensor.dim() < 1 or len(tensor) != sequences:
                found = list(tensor.shape)
                yield f"{where}: expected the first axis to be {sequences} sequences, not {found}"
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                yield f"{where}: it has numbers that are not finite"
            if tensor.requires_grad:
                yield f"{where}: expected data without a gradient"
    shape = batch.shape
    if shape.tokens > longest.tokens or shape.targets > longest.targets:
        yield (
            f"its second axis is longer than `longest`: inputs and labels have {shape.tokens} and "
            f"{shape.targets}, at most {longest.tokens} and {longest.targets}; an axis of features "
            "comes after an axis of tokens"
        )
    if batch.aligned and shape.tokens != shape.targets:
        yield f"aligned: there are {shape.tokens} tokens and {shape.targets} labels"


def equal(some: Sequence[Batch], others: Sequence[Batch]) -> bool:
    """Whether batches have equal tensors."""
    return len(some) == len(others) and all(
        len(a) == len(b)
        and all(x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(map(_tensors, some), map(_tensors, others), strict=True)
    )


def _tensors(batch: Batch) -> tuple[Tensor, ...]:
    return (*batch.inputs, *batch.side, *batch.labels, batch.predictions)


def expect_metrics(values: Mapping[str, float], main: str) -> None:
    """Raises `Violation` unless the metrics are finite numbers, the main one among them."""
    if main not in values:
        found = ", ".join(values) or "none"
        raise Violation(f"the main metric {main} is not among those of `evaluate`: {found}")
    for name, value in values.items():
        if not math.isfinite(float(value)):
            raise Violation(f"{name}: expected a finite number, not {value}")


def expect_records(task: Learning) -> str | None:
    """Raises `Violation` unless report, files and digest can be written; the note says which."""
    found = []
    if isinstance(task, Reporting):
        _expect_plain(task.report())
        found.append("report")
    if isinstance(task, WithFiles):
        _expect_files(task.files())
        found.append("files")
    if isinstance(task, WithDigest):
        if not re.fullmatch(r"[0-9a-f]{64}", digest := task.digest()):
            raise Violation(f"expected `digest` to be a SHA-256 in hexadecimal, not {digest!r}")
        found.append("digest")
    return f"it has {', '.join(found)}" if found else None


def _expect_plain(report: Any) -> None:
    try:
        json.dumps(report)
    except (TypeError, ValueError) as error:
        raise Violation(f"expected `report` to be plain data that JSON can have: {error}") from None


def _expect_files(files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        if not TASK_FILE.fullmatch(name):
            raise Violation(f"files: expected a name such as tokenizer.json, not {name!r}")
        if not isinstance(content, bytes):
            raise Violation(f"files, {name}: expected bytes, not {type(content).__name__}")
