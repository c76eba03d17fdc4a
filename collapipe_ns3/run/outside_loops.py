"""Executes a run in its own thread where an event loop is already running, as in a notebook."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.loop import SimulatedLoop

if TYPE_CHECKING:
    from collapipe_ns3.run.runner import Progress

#: Called with each step of a run when it ends.
OnProgress = Callable[["Progress"], None]


class _Interrupted(RuntimeError):
    """Ends a run in its own thread after Ctrl-C in the thread that started it."""


def outside_any_loop(work: Callable[[OnProgress], Path], on_progress: OnProgress) -> Path:
    """Calls `work` in this thread, or in a new one where this thread has a running event loop.

    A notebook executes its cells within an event loop, and a simulation needs its own loop.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return work(on_progress)
    if isinstance(loop, SimulatedLoop):
        raise RuntimeError("a study can't be run from within a round of another")  # noqa: TRY004  # the call is misplaced, not its argument
    interrupted = threading.Event()

    def report(progress: Progress) -> None:
        if interrupted.is_set():
            raise _Interrupted
        on_progress(progress)

    with ThreadPoolExecutor(1, thread_name_prefix="run") as pool:
        running = pool.submit(work, report)
        try:
            return running.result()
        except KeyboardInterrupt:
            interrupted.set()
            raise
