"""Executes a simulation in a thread of its own where an event loop is running, as in notebooks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bridge.loop import SimulatedLoop

T = TypeVar("T")


class _Interrupted(RuntimeError):
    """Ends the work in its own thread after Ctrl-C in the thread that started it."""


def outside_any_loop(work: Callable[[Callable[[], None]], T]) -> T:
    """Calls `work` in this thread, or in a new one where this thread has a running event loop.

    A notebook executes its cells within an event loop, and a simulation needs its own loop. `work`
    is given a function to call after each of its steps, which ends it after Ctrl-C.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return work(lambda: None)
    if isinstance(loop, SimulatedLoop):
        raise RuntimeError("a study can't be run from within a round of another")  # noqa: TRY004  # the call is misplaced, not its argument
    interrupted = threading.Event()

    def go_on() -> None:
        if interrupted.is_set():
            raise _Interrupted

    with ThreadPoolExecutor(1, thread_name_prefix="run") as pool:
        running = pool.submit(work, go_on)
        try:
            return running.result()
        except KeyboardInterrupt:
            interrupted.set()
            raise
