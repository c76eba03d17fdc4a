"""The contract of a learning task: its data in batches for each cluster, its model, its metrics.

Importing this needs no torch, so that studies are planned without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.spec import ModelSpec

if TYPE_CHECKING:
    from collapipe_ns3.learning.split_model import SplitModel


@dataclass(frozen=True, slots=True)
class Setup:
    """What a study says about the learning, apart from the task's own settings.

    `cluster_sizes` are the sequences of each cluster, None where the study does not say. `model`
    are the keys of the study's section `model`.
    """

    cluster_sizes: tuple[int | None, ...]
    batch_size: int
    seed: int
    model: Mapping[str, Any] = field(default_factory=dict)
    label_smoothing: float = 0.0

    @property
    def clusters(self) -> int:
        return len(self.cluster_sizes)


@dataclass(frozen=True, slots=True)
class Metric:
    """The main metric of a task: its name, its unit ("" for a ratio), and its direction."""

    name: str
    unit: str = ""
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Lengths:
    """Padded lengths in tokens: of inputs, and of labels (1 where they have no such axis)."""

    tokens: int
    targets: int


class BadTask(ValueError):
    """A task can't be made; `key` is the study's key that is wrong, such as `task.data`."""

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(message)


class Learning(Protocol):
    """A task with its data and its model, for all clusters of a study.

    Its class is found by the entry point group `collapipe_ns3.learning`. The constructor takes a
    `Setup` first; its other parameters are the task's settings in the study, checked by their
    types. All random draws depend only on the setup's seed.
    """

    @property
    def metric(self) -> Metric:
        """The main one of the metrics that `evaluate` returns."""
        ...

    @property
    def shares(self) -> Sequence[float]:
        """Each cluster's fraction of all training data; they add up to 1."""
        ...

    @property
    def longest(self) -> Lengths:
        """The longest padded lengths of any batch, for which memory must suffice."""
        ...

    def lengths(self, cluster: int) -> Lengths:
        """The usual padded lengths of a cluster's batches."""
        ...

    def model(self, seed: int) -> SplitModel:
        """A model with weights drawn from `seed`; torch's global generator is left unchanged."""
        ...

    def batches(self, cluster: int, round: int) -> Iterator[Batch]:
        """Endless batches of a cluster's data, each of the setup's `batch_size` sequences.

        They are the same at every call for the same round, and others for another round.
        """
        ...

    def evaluate(self, model: SplitModel) -> dict[str, float]:
        """Metrics on the test set by name, the main one among them, and `loss` if it has one.

        All are finite numbers. The model's weights are left unchanged.
        """
        ...


@runtime_checkable
class WithSpec(Protocol):
    """Also implemented by a task with built-in models, whose costs are known without torch."""

    @property
    def spec(self) -> ModelSpec | None:
        """The model's sizes and options, None if the study chose a model that is not built in."""
        ...


@runtime_checkable
class Reporting(Protocol):
    """Also implemented by a task that reads data: what it read, and what it left out."""

    def report(self) -> dict[str, Any]:
        """Counts and names as plain data, for the manifest of a run."""
        ...


@runtime_checkable
class WithFiles(Protocol):
    """Also implemented by a task with files that belong to its runs, such as a tokenizer."""

    def files(self) -> Mapping[str, bytes]:
        """The content of each file by its name in the folder `task` of the run directory.

        A name has letters, digits, dots, hyphens and underscores only.
        """
        ...


@runtime_checkable
class WithDigest(Protocol):
    """Also implemented by a task whose data is not determined by the study and the code.

    A run is resumed only with data of the same digest.
    """

    def digest(self) -> str:
        """A SHA-256 digest of its data, in hexadecimal."""
        ...
