"""Describes what each waiting task waits for, for the errors of the event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ASYNCIO = Path(asyncio.__file__).parent


def waiting(loop: asyncio.AbstractEventLoop) -> list[str]:
    """A line for each task that has not ended, with its name and where it waits, by name."""
    tasks = [task for task in asyncio.all_tasks(loop) if not task.done()]
    return sorted(f"{task.get_name()}: {_where(task)}" for task in tasks)


def _where(task: asyncio.Task[Any]) -> str:
    frames = list(_awaited(task.get_coro()))
    own = [frame for frame in frames if Path(frame.cr_code.co_filename).parent != _ASYNCIO]
    if not own:
        return "not begun"
    last = own[-1]
    frame = last.cr_frame
    line = frame.f_lineno if frame is not None else last.cr_code.co_firstlineno
    place = f"{last.__qualname__}, line {line} of {Path(last.cr_code.co_filename).name}"
    inside = frames[frames.index(last) + 1 :]
    return f"{inside[0].__qualname__} in {place}" if inside else place


def _awaited(awaitable: object) -> Iterator[Any]:
    """The chain of coroutines from the task's outermost one to the one that waits."""
    while inspect.iscoroutine(awaitable):
        yield awaitable
        awaitable = awaitable.cr_await
