"""Checks the keys of a study against each other, against its scheme and against ns-3."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import ValidationError

from collapipe_ns3 import keywords, schemes
from collapipe_ns3.config.study import Model, Node, StudyConfig, Task
from collapipe_ns3.costs.optimizers import BadOptimizer, optimizer_kind
from collapipe_ns3.learning import registry
from collapipe_ns3.learning.models import MODELS
from collapipe_ns3.problems import Problem, path_of
from collapipe_ns3.reading.aggregation_checks import aggregation_problems
from collapipe_ns3.reading.fault_checks import fault_problems
from collapipe_ns3.reading.footprint import MOST_BYTES, block_bytes, decoder_blocks, footprint
from collapipe_ns3.topology import layout, own_scenario
from collapipe_ns3.topology.common_exchange import multicast_problems
from collapipe_ns3.topology.media import media
from ns3_scenarios import runtime
from ns3_scenarios.channel import kind_of
from ns3_scenarios.checks import problems as scenario_problems
from ns3_scenarios.naming import asks_ns3, ns3_problems
from ns3_scenarios.scenario import ScenarioSpec

_MIB = 2**20

#: How paths in the scenario become keys of the study: patterns and their replacements.
_RENAMED = (
    (r"^bs\b", "server"),
    (r"\.(max_)?tx_power_w$", ".tx_power_dbm"),
    (r"^(d2d|d2e)\.propagation\.kind", r"propagation.\1.model"),
    (r"^(d2d|d2e)\.propagation\.fading\.profile", r"propagation.\1.fading.kind"),
    (r"^(d2d|d2e)\.propagation\.", r"propagation.\1."),
    (r"^(d2d|d2e)\.", r"radio.\1."),
    (r"^handover\b", "radio.handover"),
    (r"^ns3_defaults\.", "ns3."),
)


def problems(config: StudyConfig) -> list[Problem]:
    """Everything that is wrong with a study whose keys are all well-formed.

    The nodes of a study that takes more memory than any study may are not checked.
    """
    of_sizes = [
        *_model_problems(config),
        *_steps_problems(config),
        *_task_problems(config),
        *_memory_problems(config),
    ]
    if too_large := footprint(config).problem(MOST_BYTES, "a study may take"):
        return [*of_sizes, too_large]
    return [
        *of_sizes,
        *_scheme_problems(config),
        *_own_scenario_problems(config),
        *_format_problems(config),
        *fault_problems(config),
        *(
            list(_energy_problems(config))
            or _scenario_problems(config)
            or _multicast_problems(config)
        ),
        *aggregation_problems(config),
    ]


def _model_problems(config: StudyConfig) -> Iterator[Problem]:
    model = config.model
    if model.width % model.heads:
        yield Problem("model.heads", f"expected a divisor of the width {model.width}, not "
                      f"{model.heads}")  # fmt: skip


def _steps_problems(config: StudyConfig) -> Iterator[Problem]:
    least, most = config.training.least_steps, config.training.most_steps
    if most < least:
        what = f"expected at least as many as least, {least}, not {most}"
        yield Problem("training.local_steps.most", what)


def _idle_model_keys(model: Model) -> Iterator[Problem]:
    """Keys with values of their own that the chosen model does not use."""
    used = {"name", "lora", *MODELS[model.name].keys}
    for key, field in type(model).model_fields.items():
        if key not in used and getattr(model, key) != field.default:
            users = ", ".join(name for name, entry in MODELS.items() if key in entry.keys)
            yield Problem(f"model.{key}", f"{model.name} has no such key; it is one of {users}")


def named_nodes(config: StudyConfig) -> Iterator[tuple[str, Node]]:
    """Every node with its place in the study."""
    yield "server", config.server
    for n, cluster in enumerate(config.clusters):
        yield f"clusters[{n}].cu", cluster.cu
        for k, node in enumerate(cluster.devices):
            yield f"clusters[{n}].devices[{k}]", node


def _energy_problems(config: StudyConfig) -> Iterator[Problem]:
    """Nodes that would take less while they compute, send or receive than at rest."""
    energy = config.energy.energy_model()
    if energy.model != "socket":
        return
    for path, node in named_nodes(config):
        profile = node.device_profile()
        rest_w = profile.radio.resting_w(energy.radio_rest)
        resting = f"{rest_w:g} W of its radio at rest ({energy.radio_rest})"
        if profile.active_power_w < profile.idle_power_w:
            what = f"expected at most {profile.active_power_w:g} W, its active_power_w"
            yield Problem(f"{path}.idle_power_w", f"{what}, not {profile.idle_power_w:g} W")
        for key, watts in (
            ("rx_power_w", profile.radio.rx_w),
            ("tx_static_power_w", profile.radio.tx_static_w),
        ):
            if watts < rest_w:
                yield Problem(f"{path}.{key}", f"expected at least the {resting}, not {watts:g} W")


def task_problems(data: object) -> Iterator[Problem]:
    """Problems of the name of the task in a study's data, and of its settings by themselves."""
    try:
        task = Task.model_validate(data.get("task", {}) if isinstance(data, dict) else {})
    except ValidationError:
        return  # which the check of the study's form reports
    try:
        model = registry.settings_model(task.name)
    except (registry.UnknownTask, registry.TaskFailed) as error:
        yield Problem("task.name", str(error))
        return
    yield from keywords.problems(model, task.settings, ("task",))


def optimizer_problems(data: object) -> Iterator[Problem]:
    """Problems of the optimizer's name and settings in a study's data."""
    training = data.get("training") if isinstance(data, dict) else None
    given = training if isinstance(training, dict) else {}
    name, settings = given.get("optimizer", "adamw"), given.get("optimizer_settings", {})
    if not isinstance(name, str) or not isinstance(settings, dict):
        return  # which the check of the study's form reports
    try:
        optimizer_kind(name, settings)
    except BadOptimizer as error:
        for key, message in error.problems:
            place = ("optimizer_settings", key) if key else ("optimizer",)
            yield Problem(path_of(("training", *place)), message)


def _task_problems(config: StudyConfig) -> Iterator[Problem]:
    """Problems of the task's settings with others, and of the model that it is given by name."""
    name = config.task.name
    try:
        task, settings = registry.factory(name), registry.checked(name, config.task.settings)
    except (registry.UnknownTask, registry.TaskFailed, ValidationError):
        return  # which `task_problems` reports
    models = getattr(task, "models", ())
    if models and config.model.name not in models:
        names = ", ".join(models)
        yield Problem("model.name", f"the task {name} takes {names}, not {config.model.name}")
    elif models:
        yield from _idle_model_keys(config.model)
    if isinstance(task, registry.Checked):
        with registry.failing_as(name, "checking its settings"):
            for path, message in task.problems(config.learning_setup(), settings):
                yield Problem(path, message)


def _memory_problems(config: StudyConfig) -> Iterator[Problem]:
    """Memory that doesn't even hold the parameters in training, without any activations."""
    model, (parameters, block) = config.model, block_bytes(config, config.training.kind)
    for n, cluster in enumerate(config.clusters):
        memories = [node.device_profile().memory_bytes for node in cluster.devices]
        room = sum(memory // max(block, 1) for memory in memories)
        if room < model.encoder_blocks:
            yield Problem(
                path_of(("clusters", n, "devices")),
                f"expected memory for {model.encoder_blocks} encoder blocks of "
                f"{block / _MIB:.3g} MiB each in training, and there is room for {room}",
            )
    server = config.server.device_profile().memory_bytes
    decoder = config.training.kind.training_bytes(parameters)
    if (needed := decoder_blocks(config) * decoder) > server:
        yield Problem(
            "server.memory_bytes",
            f"expected {needed / _MIB:.3g} MiB or more for the decoder, not {server / _MIB:.3g}",
        )


def _scheme_problems(config: StudyConfig) -> Iterator[Problem]:
    """Problems of the scheme's settings, and why the scheme can't be loaded."""
    try:
        with schemes.failing_as(config.scheme.name, "being loaded"):
            model = schemes.settings_model(config.scheme.name)
    except (schemes.UnknownScheme, schemes.SchemeFailed) as error:
        yield Problem("scheme.name", str(error))
        return
    yield from keywords.problems(model, config.scheme.settings, ("scheme", "settings"))


def _own_scenario_problems(config: StudyConfig) -> Iterator[Problem]:
    if config.scenario is None:
        return
    try:
        function = own_scenario.find(config.scenario.function)
        model = keywords.model_of(function, "scenario", skip=1)
    except (own_scenario.BadScenario, TypeError, ValueError, NameError) as error:
        yield Problem("scenario.function", str(error))
        return
    yield from keywords.problems(model, config.scenario.settings, ("scenario", "settings"))


def _scenario_problems(config: StudyConfig) -> list[Problem]:
    spec = layout.scenario(config, config.seed, 0)
    found = scenario_problems(spec)
    if asks_ns3(spec):
        with runtime.alone():
            found += ns3_problems(spec)
    problems = [Problem(renamed(config, path), message) for path, message in found]
    return [*problems, *(_idle_defaults(spec) if config.scenario is None else ())]


def _format_problems(config: StudyConfig) -> Iterator[Problem]:
    """Formats of parameters that would lose most of the model."""
    exchange = config.training.exchange
    for key in ("down", "up") if exchange is not None else ():
        format = getattr(exchange, key)
        if format.largest is not None and not format.difference:
            what = "is for differences, as the other numbers would be lost: set difference: true"
            yield Problem(f"training.exchange.{key}.largest", what)


def _multicast_problems(config: StudyConfig) -> list[Problem]:
    """Radios that can't multicast where the study asks for it; of its own scenario none is known.

    The radios must be free of other problems.
    """
    exchange = config.training.exchange
    if exchange is None or config.scenario is not None:
        return []
    found = multicast_problems(exchange, media(layout.scenario(config, config.seed, 0)))
    expected = "expected false, or null for multicast where the radio can"
    return [
        Problem("training.exchange.multicast", f"{expected}: radio.{tier}: {why}")
        for tier, why in found
    ]


def _idle_defaults(spec: ScenarioSpec) -> Iterator[Problem]:
    """Defaults of ns-3 that would have no effect, since every channel sets its own value."""
    for path in spec.ns3_defaults:
        owner, _, name = path.rpartition("::")
        tiers = {
            tier: name in radio.propagation.attributes
            for tier, radio in spec.radios.items()
            if owner in (kind_of(radio.propagation).loss, kind_of(radio.propagation).nlos_loss)
        }
        if tiers and all(tiers.values()):
            keys = " and ".join(f"propagation.{tier}.attributes.{name}" for tier in tiers)
            yield Problem(f"ns3.{path}", f"would change nothing: {keys} sets it; change that")


def renamed(config: StudyConfig, path: str) -> str:
    """The study's key for a path in the scenario."""
    for old, new in _RENAMED:
        path = re.sub(old, new, path)
    # A control unit without a position or motion of its own takes it from its cluster.
    for n, cluster in enumerate(config.clusters):
        for key in ("position", "motion"):
            if getattr(cluster.cu, key) is None and getattr(cluster, key) is not None:
                path = path.replace(f"clusters[{n}].cu.{key}", f"clusters[{n}].{key}")
    return path
