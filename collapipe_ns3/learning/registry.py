"""The installed learning tasks, found by entry point; a user's own needs no change here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ValidationError

from collapipe_ns3.keywords import model_of
from collapipe_ns3.learning.protocol import BadTask, Learning, Setup
from collapipe_ns3.plugins import RAISED, PluginFailed, PluginGroup, described


class UnknownTask(ValueError):
    """No task of this name is installed; the message has the most similar name."""


class TaskFailed(PluginFailed):
    """A task's own code raised an exception, or returned something invalid."""


@runtime_checkable
class Sized(Protocol):
    """A task's class that knows the size of its data before the task is made."""

    def data_bytes(self, setup: Setup, settings: Mapping[str, Any]) -> int:
        """A lower bound of the memory in bytes that its data and its evaluation take."""
        ...


@runtime_checkable
class Checked(Protocol):
    """A task's class that checks settings against each other before the task is made."""

    def problems(self, setup: Setup, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """The study's keys that are wrong, each with what was expected."""
        ...


TASKS = PluginGroup("collapipe_ns3.learning", "task", UnknownTask)


@contextmanager
def failing_as(name: str, doing: str) -> Iterator[None]:
    """Turns exceptions of a task's code into `TaskFailed`, except those that refuse a study."""
    try:
        yield
    except (BadTask, TaskFailed, UnknownTask, ValidationError):
        raise
    except RAISED as error:
        raise TaskFailed(f"task {name}, {doing}: {described(error)}") from error


def factory(name: str) -> Callable[..., Learning]:
    """The class of an installed task; raises `UnknownTask` and `TaskFailed`."""
    point = TASKS.entry_point(name)
    with failing_as(name, "being loaded"):
        found: Callable[..., Learning] = point.load()
    return found


def settings_model(name: str) -> type[BaseModel]:
    """The settings of a task: the parameters of its constructor after the `Setup`."""
    made = factory(name)
    with failing_as(name, "being loaded"):
        return model_of(made, name, skip=1)


def checked(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a task, with its defaults; raises pydantic's `ValidationError`."""
    model = settings_model(name).model_validate(dict(settings))
    return {key: getattr(model, key) for key in type(model).model_fields}


def make(name: str, setup: Setup, settings: Mapping[str, Any]) -> Learning:
    """Makes a task with these settings, checked against the types of its constructor.

    Raises `UnknownTask`, `BadTask` where its data or its model can't be used, `TaskFailed`, and
    pydantic's `ValidationError` for invalid settings.
    """
    values = checked(name, settings)
    with failing_as(name, "being made"):
        return factory(name)(setup, **values)
