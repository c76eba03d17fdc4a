"""Runs where an event loop is running already, as in a notebook: in a thread of their own."""

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

#: Is called with each step of a run as it ends.
OnProgress = Callable[["Progress"], None]


class _Interrupted(RuntimeError):
    """Ends a run in another thread than the one that was interrupted."""


def outside_any_loop(work: Callable[[OnProgress], Path], on_progress: OnProgress) -> Path:
    """Does the work here, or in a thread of its own where this one has an event loop running.

    Notebooks run their cells in such a loop, and a simulation needs one of its own.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return work(on_progress)
    if isinstance(loop, SimulatedLoop):
        raise RuntimeError("a study can't be run from within a round of another")  # noqa: TRY004  # the call is misplaced, not its argument
    interrupted = threading.Event()

    def told(progress: Progress) -> None:
        if interrupted.is_set():
            raise _Interrupted
        on_progress(progress)

    with ThreadPoolExecutor(1, thread_name_prefix="run") as pool:
        running = pool.submit(work, told)
        try:
            return running.result()
        except KeyboardInterrupt:
            interrupted.set()
            raise
