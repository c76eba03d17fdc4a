"""The checks of a learning task: its data, its model, whose cut changes nothing, and its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.contract import Step, Violation
from collapipe_ns3.contract import cut as cutting
from collapipe_ns3.contract import task_data as data
from collapipe_ns3.contract.settings import expect_settings
from collapipe_ns3.contract.study import NEAR, differences, rounds, tiny
from collapipe_ns3.costs.measured import NoPolynomial, measure_parts
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.protocol import BadTask, Learning, Setup
from collapipe_ns3.learning.registry import failing_as
from collapipe_ns3.learning.split_model import SplitModel
from collapipe_ns3.plan import micro_batch_sizes
from collapipe_ns3.run.runner import Run

_SEED = 1
_OTHER_SEED = 915_067  # which no model is made from
_MICRO_BATCHES = 5  # of unequal sizes


@dataclass(frozen=True)
class TaskContract:
    """The checks of a task with its default settings, which `make` constructs from a `Setup`."""

    name: str
    make: Callable[..., Learning]

    def stages(self) -> Iterator[list[Step]]:
        """The checks in stages; each stage needs the earlier ones to pass."""
        yield [("settings have types and defaults", self._settings)]
        yield [("is made for a study with two clusters", self._made)]
        yield [
            ("names its main metric", lambda: data.expect_metric(self._task)),
            ("has shares of the clusters that add up to 1", self._shares),
            ("has lengths of at most the longest", self._lengths),
        ]
        yield [("has batches with the right types and shapes", self._batches)]
        yield [
            ("repeats its batches for the same round", self._repeats),
            ("has other batches in another round", self._varies),
            ("has a report, files and a digest that can be written", self._records),
        ]
        yield [("has a model with a first part, blocks and a last part", self._parts)]
        yield [
            ("has every parameter in exactly one part", self._owners),
            ("copies its model with its parts", self._copies),
            ("draws the same weights from the same seed", self._weights),
            ("leaves torch's global generator unchanged", self._generator),
        ]
        yield [("computes one part after another", self._computes)]
        yield [
            ("has finite gradients", self._gradients),
            ("has costs that follow from the shapes of a batch", self._measures),
        ]
        yield [
            ("adds up the losses of micro-batches to that of the batch", self._adds_up),
            ("computes the same when it is cut", self._cut),
            ("computes the same as its model's own `uncut`", self._own_uncut),
            ("adds up the losses of its local head", self._local_head),
        ]
        yield [("evaluates with finite metrics", self._evaluates)]
        yield [
            ("runs with the same results twice", self._runs_twice),
            ("resumes after a stop with the same results", self._resumes),
        ]

    # What is checked

    def _settings(self) -> None:
        expect_settings(self.make, skip=1)

    def _made(self) -> None:
        task = self._task
        calls = ("lengths", "model", "batches", "evaluate")
        missing = [each for each in calls if not callable(getattr(task, each, None))]
        missing += [each for each in ("metric", "shares", "longest") if not hasattr(task, each)]
        if missing:
            raise Violation(f"it has no {' and no '.join(missing)}")

    def _shares(self) -> None:
        data.expect_shares(self._task.shares, self._setup.clusters)

    def _lengths(self) -> None:
        data.expect_lengths(self._task, self._setup.clusters)

    def _batches(self) -> None:
        for cluster in range(self._setup.clusters):
            for number, batch in enumerate(self._first(self._task, cluster, 0)):
                longest, size = self._task.longest, self._setup.batch_size
                if found := list(data.batch_problems(batch, size, longest)):
                    raise Violation(f"cluster {cluster}, batch {number}: {'; '.join(found)}")

    def _repeats(self) -> None:
        for other, whose in ((self._task, "the same task"), (self._new(), "another instance")):
            for cluster in range(self._setup.clusters):
                one, again = (self._first(each, cluster, 0) for each in (self._task, other))
                if not data.equal(one, again):
                    raise Violation(f"cluster {cluster}: {whose} has other batches for round 0")

    def _varies(self) -> None:
        for cluster in range(self._setup.clusters):
            one, other = (self._first(self._task, cluster, round) for round in (0, 1))
            if data.equal(one, other):
                raise Violation(f"cluster {cluster}: the batches of rounds 0 and 1 are the same")

    def _records(self) -> str | None:
        with failing_as(self.name, "describing its data"):
            return data.expect_records(self._task)

    def _parts(self) -> str:
        model = self._model()
        if not isinstance(model, SplitModel):
            raise Violation(f"expected a SplitModel, not {type(model).__name__}")
        parts = model.parts()
        if not isinstance(parts, dict) or not all(isinstance(p, nn.Module) for p in parts.values()):
            raise Violation("expected `parts` to be a mapping from names to modules")
        if len(parts) < 3:
            names = ", ".join(parts)
            raise Violation(
                f"expected a first part, at least one block and a last part, not {names}"
            )
        again = model.parts()
        if any(again.get(name) is not part for name, part in parts.items()):
            raise Violation("expected `parts` to return the same modules at every call")
        blocks = len(parts) - 2
        return f"{blocks} block{'s' * (blocks > 1)}"

    def _owners(self) -> None:
        model = self._model()
        names = {id(p): name for name, p in model.named_parameters()}
        owners: dict[int, list[str]] = {key: [] for key in names}
        for part, module in model.parts().items():
            for inner, parameter in module.named_parameters():
                if id(parameter) not in names:
                    raise Violation(
                        f"{inner} of part {part} is not among the model's parameters, so it would "
                        "not be averaged: assign the part to an attribute of the model"
                    )
                owners[id(parameter)].append(part)
        for key, parts in owners.items():
            if not parts:
                raise Violation(f"{names[key]} is in no part, so no node would train it")
            if len(parts) > 1:
                raise Violation(
                    f"{names[key]} is in the parts {' and '.join(parts)}, which different nodes "
                    "train: give each part a copy, and name them in `tied`"
                )
        _expect_ties(model)

    def _copies(self) -> None:
        model = self._model()
        with failing_as(self.name, "being copied"):
            copied = deepcopy(model)
            copied.load_state_dict(model.state_dict())
        own = {id(parameter) for parameter in model.parameters()}
        for name, part in copied.parts().items():
            if any(id(parameter) in own for parameter in part.parameters()):
                raise Violation(f"part {name} of a copy (copy.deepcopy) is that of the original")

    def _weights(self) -> None:
        one, other = (self._model().state_dict() for _ in range(2))
        if one.keys() != other.keys():
            raise Violation("two models have different parameters")
        if changed := [name for name in one if not torch.equal(one[name], other[name])]:
            raise Violation(f"{changed[0]} is different in two models with the same seed")

    def _generator(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_OTHER_SEED)
            before = torch.get_rng_state()
            self._model()
            unchanged = torch.equal(before, torch.get_rng_state())
        if not unchanged:
            raise Violation(
                "making the model drew from it: use `torch.random.fork_rng` and `manual_seed`"
            )

    def _computes(self) -> None:
        model = self._model().eval()
        for size in (self._batch.sequences, 1):
            cutting.run_parts(model, self._batch.part(0, size))

    def _gradients(self) -> str | None:
        model = self._model()
        cutting.run_parts(model, self._batch).backward()
        named = dict(model.named_parameters())
        wrong = [n for n, p in named.items() if p.grad is not None and not p.grad.isfinite().all()]
        if wrong:
            raise Violation(f"the gradient of {wrong[0]} is not finite")
        trained = [name for name, p in named.items() if p.requires_grad]
        if not trained:
            raise Violation("no parameter of the model is trained (`requires_grad`)")
        unused = [name for name in trained if named[name].grad is None]
        return f"the loss does not depend on {', '.join(unused[:3])}" if unused else None

    def _measures(self) -> None:
        with failing_as(self.name, "measuring the costs of its model"):
            try:
                self._costs  # noqa: B018  # measured here for the first time
            except NoPolynomial as error:
                raise Violation(str(error)) from None

    def _adds_up(self) -> str:
        model = self._model()
        parts = cutting.in_micro_batches(model, self._batch, self._sizes)
        # Sums over a batch in another order: rounding of float32 sums of some hundred terms.
        return cutting.expect_same(
            parts,
            cutting.whole(model, self._batch),
            f"a batch and its {len(self._sizes)} micro-batches",
            tolerance=1e-4,
        )

    def _cut(self) -> str:
        model = self._model()
        blocks, notes = len(model.parts()) - 2, []
        expected = cutting.uncut(model, self._batch, self._sizes)
        for devices in sorted({1, blocks}):
            result = cutting.cut(model, self._costs, self._batch, self._sizes, devices)
            what = f"the blocks on {devices} device{'s' * (devices > 1)} and the model uncut"
            notes.append(cutting.expect_same(result, expected, what))
        return max(notes)

    def _own_uncut(self) -> str:
        model = self._model()
        if not hasattr(model, "uncut"):
            return "it has none"
        own = cutting.whole(model, self._batch, own=True)
        what = "the loss of the parts and that of `uncut`"
        return cutting.expect_same(cutting.whole(model, self._batch), own, what, tolerance=1e-5)

    def _local_head(self) -> str:
        model = self._model()
        if model.new_local_head() is None:
            return "it has none"
        model.add_local_head(_SEED)
        return cutting.expect_same(
            cutting.by_local_head(model, self._batch, self._sizes),
            cutting.by_local_head(model, self._batch, [self._batch.sequences]),
            f"by the local head, a batch and its {len(self._sizes)} micro-batches",
            tolerance=1e-4,
        )

    def _evaluates(self) -> None:
        model = self._model()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        first, again = self._evaluated(model), self._evaluated(model)
        data.expect_metrics(first, self._task.metric.name)
        if first != again:
            raise Violation(f"two evaluations of one model: {first} and {again}")
        for name, tensor in model.state_dict().items():
            if not torch.equal(tensor, before[name]):
                raise Violation(f"evaluating changed {name} of the model")

    def _runs_twice(self) -> str:
        first, again = rounds(self._run), rounds(self._run)
        if found := list(differences(first, again)):
            raise Violation(f"two runs of one study differ: {'; '.join(found[:3])}")
        for record in first:
            if abandoned := record.outcome.abandoned:
                raise Violation(f"round {record.plan.round}: {next(iter(abandoned.values()))}")
        (name, value), *_ = first[-1].metrics.items()
        return f"{name} is {value:.3g} after {len(first)} rounds"

    def _resumes(self) -> None:
        whole, parts = rounds(self._run), rounds(self._run, stopped=True)
        if found := list(differences(whole, parts)):
            what = "a run and one that was stopped after each round differ"
            raise Violation(f"{what}: {'; '.join(found[:3])}")

    # What it is checked with

    @cached_property
    def _config(self) -> StudyConfig:
        """A tiny study of two clusters, with a model that the task takes."""
        config = tiny((NEAR, ("jetson-nano",)), scheme="pipeline")
        models = tuple(getattr(self.make, "models", ()))
        if not models or config.model.name in models:
            return config
        return config.model_copy(
            update={"model": config.model.model_copy(update={"name": models[0]})}
        )

    @cached_property
    def _setup(self) -> Setup:
        return self._config.learning_setup()

    def _new(self) -> Learning:
        try:
            with failing_as(self.name, "being made"):
                return self.make(self._setup)
        except BadTask as error:
            raise Violation(f"{error.key}: {error}") from None

    @cached_property
    def _task(self) -> Learning:
        return self._new()

    def _model(self) -> SplitModel:
        with failing_as(self.name, "making its model"):
            return self._task.model(_SEED)

    def _first(self, task: Learning, cluster: int, round: int) -> list[Batch]:
        with failing_as(self.name, f"making batches of cluster {cluster} for round {round}"):
            return data.first_batches(task, cluster, round)

    @cached_property
    def _batch(self) -> Batch:
        return self._first(self._task, 0, 0)[0]

    @cached_property
    def _costs(self) -> ModelCosts:
        return measure_parts(self._model().train(), self._batch, self._task.longest)

    @property
    def _sizes(self) -> list[int]:
        return micro_batch_sizes(self._setup.batch_size, _MICRO_BATCHES)

    def _evaluated(self, model: SplitModel) -> dict[str, float]:
        with failing_as(self.name, "evaluating a model"):
            return {name: float(value) for name, value in self._task.evaluate(model).items()}

    def _run(self) -> Run:
        return Run(self._config, torch.device("cpu"), task=self._new())


def _expect_ties(model: SplitModel) -> None:
    """Raises `Violation` unless tied parameters are equal ones of the last and the first part."""
    parts = list(model.parts().values())
    ends = [{id(parameter) for parameter in part.parameters()} for part in (parts[-1], parts[0])]
    named = dict(model.named_parameters())
    for names in model.tied.items():
        for name, owned, where in zip(names, ends, ("last", "first"), strict=True):
            if name not in named or id(named[name]) not in owned:
                raise Violation(f"tied: expected a parameter of the {where} part, not {name}")
        one, other = (named[name] for name in names)
        if not torch.equal(one, other):
            raise Violation(f"tied: {' and '.join(names)} are not equal at first")
