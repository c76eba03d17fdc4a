"""A lower bound of the memory that a study takes on the machine that runs it, by closed forms.

It counts what takes nearly all memory in large studies: a replica of the model with gradients and
optimizer states for every pipeline, the simulated nodes and the pairs of them that receive each
other, the data, and the evaluation of the test set. Activations in training are not counted.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

from pydantic import ValidationError

from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.costs.optimizers import OptimizerKind
from collapipe_ns3.learning.architecture import encoder_block
from collapipe_ns3.learning.models import MODELS
from collapipe_ns3.learning.registry import (
    Sized,
    TaskFailed,
    UnknownTask,
    checked,
    factory,
    failing_as,
)
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.problems import Problem

#: The most that any study may take. Each machine also refuses more than it has.
MOST_BYTES = 256 * 2**30

_GIB = 2**30

# Measured as the growth of the process.
_MODULE_BYTES = 40_000  # of a block's Python and C++ objects, in one replica
_NODE_BYTES = 40_000
_CHUNK_BYTES = 1000  # of Python objects, for each hop of a chunk of parameters
_PAIR_BYTES = 8  # a gain from one node to another
_FADING_BYTES = 130  # a pair, both ways
_STOCHASTIC_BYTES = 400  # a pair, with line of sight and shadowing of 3GPP's models

_STOCHASTIC = ("umi", "uma", "indoor", "p1411")


@dataclass(frozen=True, slots=True)
class Footprint:
    """Lower bounds in bytes, by what takes the memory."""

    training: int
    simulation: int
    data: int
    exchange: int = 0

    @property
    def total(self) -> int:
        return self.training + self.simulation + self.data + self.exchange

    def problem(self, most_bytes: int, where: str) -> Problem | None:
        """A problem if the total is above `most_bytes`, at the keys that take the most."""
        if self.total <= most_bytes:
            return None
        parts = {
            "model": self.training,
            "clusters": self.simulation,
            "task": self.data,
            "training.exchange.chunk_bytes": self.exchange,
        }
        path = max(parts, key=lambda part: parts[part])
        return Problem(
            path,
            f"takes at least {self.total / _GIB:.3g} GiB of memory where it runs, and {where} "
            f"{most_bytes / _GIB:.3g} GiB",
        )


def footprint(config: StudyConfig, pipelines: int | None = None) -> Footprint:
    """The footprint with so many pipelines in a plan; by default, one for each cluster."""
    pipelines = pipelines or len(config.clusters)
    return Footprint(
        _training(config, pipelines),
        _simulation(config),
        _data(config),
        _exchange(config, pipelines),
    )


def lacking_here(config: StudyConfig, plan: RoundPlan | None = None) -> Problem | None:
    """A problem if this machine has less memory than the study takes.

    The plan, if there is one, gives the number of pipelines.
    """
    pipelines = sum(len(cluster.pipelines) for cluster in plan.clusters) if plan else None
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return footprint(config, pipelines).problem(there, "this machine has")


def block_bytes(config: StudyConfig, optimizer: OptimizerKind) -> tuple[int, int]:
    """Lower bounds of the bytes of an encoder block: its parameters, and the block in training.

    `optimizer` is the study's, with or without what an aggregation has nodes hold.

    With LoRA a block is frozen and has no gradients and optimizer states. The sizes of a checkpoint
    are not known here: both are 0.
    """
    model = config.model
    if model.checkpoint is not None:
        return 0, 0
    parameters = encoder_block(model.width, model.feed_forward).bytes
    if model.lora is not None:
        return parameters, parameters
    return parameters, optimizer.training_bytes(parameters)


def decoder_blocks(config: StudyConfig) -> int:
    """The blocks of the decoder, which are trained as a whole; 0 of a model without decoder."""
    has_decoder = MODELS[config.model.name].kind == "encoder-decoder"
    return config.model.decoder_blocks if has_decoder else 0


def _training(config: StudyConfig, pipelines: int) -> int:
    encoders, decoders = config.model.encoder_blocks, decoder_blocks(config)
    # What an aggregation has nodes hold are tensors that are there anyhow: the global model, and
    # those that the base station keeps.
    optimizer = config.training.optimizer_alone
    parameters, in_training = block_bytes(config, optimizer)
    decoder = optimizer.training_bytes(decoders * parameters)  # even larger
    modules = (encoders + decoders) * _MODULE_BYTES
    replica = encoders * in_training + decoder + modules
    copies = 1  # the model, and what is averaged of it, and what the aggregation keeps
    if config.model.lora is None:
        copies = 2 + config.training.aggregation.kept_by_server(len(config.clusters))
    return pipelines * replica + copies * (encoders + decoders) * parameters


def _exchange(config: StudyConfig, pipelines: int) -> int:
    """The chunks of the blocks' parameters, each over two hops to the devices and two back.

    Automatic chunks are so few that their memory does not count.
    """
    given = config.training.exchange
    if given is None or not isinstance(given.chunk_bytes, float):
        return 0
    blocks = (config.model.encoder_blocks + decoder_blocks(config)) * block_bytes(
        config, config.training.kind
    )[0]
    return int(4 * pipelines * blocks / given.chunk_bytes) * _CHUNK_BYTES


def _simulation(config: StudyConfig) -> int:
    sizes = [1 + len(cluster.devices) for cluster in config.clusters]
    d2d, channel = config.radio.d2d, config.propagation.d2d
    pairs = 0
    if d2d.keeps_gains:
        bands: Counter[int] = Counter()
        for n, (cluster, size) in enumerate(zip(config.clusters, sizes, strict=True)):
            bands[n % (d2d.reuse or 1) if cluster.channel is None else cluster.channel] += size
        pairs = sum(nodes * nodes for nodes in bands.values())
    a_pair = float(_PAIR_BYTES)
    if channel is not None:
        a_pair += (channel.fading is not None) * _FADING_BYTES / 2
        a_pair += (channel.model in _STOCHASTIC) * _STOCHASTIC_BYTES / 2
    return sum(sizes) * _NODE_BYTES + int(pairs * a_pair)


def _data(config: StudyConfig) -> int:
    """The data's size, 0 where the task can't say it before it is made."""
    name = config.task.name
    try:
        task, settings = factory(name), checked(name, config.task.settings)
    except (UnknownTask, TaskFailed, ValidationError):
        return 0  # which `checks` reports
    if not isinstance(task, Sized):
        return 0
    with failing_as(name, "predicting its memory"):
        return task.data_bytes(config.learning_setup(), settings)
