"""The installed learning tasks and their settings, and the models that they may be given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from collapipe_ns3.installed import Installed, installed
from collapipe_ns3.learning.protocol import Metric
from collapipe_ns3.learning.registry import TASKS, factory, settings_model


@dataclass(frozen=True, slots=True)
class InstalledTask:
    """A task that a study may name.

    `models` are the names in the study's section `model` that the task takes, and empty if it has
    a model of its own. `metric` is its main metric, and None if only a task that was made has one.
    """

    plugin: Installed
    models: tuple[str, ...] = ()
    metric: Metric | None = None


def installed_tasks() -> Iterator[InstalledTask]:
    """All installed tasks by name."""
    for plugin in installed(TASKS, settings_model):
        if plugin.error:
            yield InstalledTask(plugin)
            continue
        made = factory(plugin.name)
        metric = getattr(made, "metric", None)
        yield InstalledTask(
            plugin,
            tuple(getattr(made, "models", ())),
            metric if isinstance(metric, Metric) else None,
        )
