"""Ends a plug-in's code that never returns: by a watchdog, and by Ctrl-C.

While a callback computes, the simulated loop can neither check its watchdog nor cancel a task. Code
that may never return is therefore called through `watched`, which raises an error in the middle of
it. This ends Python code only; C code is ended when it returns to Python.
"""

from __future__ import annotations

import ctypes
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bridge.loop import WatchdogExpired, computing

T = TypeVar("T")

_CALLS = 3  # innermost calls named in the message
_AGAIN_S = 1.0  # until the error is raised again, in code that caught it
_ENDS = 3  # attempts to end a watch: an error may interrupt one before it has ended, and one after


class _Expired(BaseException):
    """Raised in code that takes too long; not an `Exception`, so that few handlers catch it."""


def watched(function: Callable[[], T], doing: str, seconds: float | None) -> T:
    """Calls a function under a watchdog, in which Ctrl-C is raised at once; returns its result.

    Raises what `function` raises, and `WatchdogExpired` if it takes more than `seconds` of wall
    time (None: no limit). That message begins with `doing` and names the line that was running.
    """
    if seconds is None:
        return computing(function)
    watch = _Watch(seconds)
    # An error from another thread is raised at a call or at the end of a loop iteration. After
    # `begin` all of these are within the outer `try`.
    try:
        try:
            watch.begin()
            return computing(function)
        finally:
            watch.end()
    except _Expired as error:
        watch.end()
        reason = f"it has not ended after {seconds:g} s of wall time, in {_where(error)}"
        raise WatchdogExpired(f"{doing}: {reason}") from None


def _where(error: BaseException) -> str:
    """The line in which the error was raised, after those that called it."""
    last = traceback.extract_tb(error.__traceback__)[-_CALLS:]
    return " → ".join(f"{Path(each.filename).name}, line {each.lineno}" for each in last)


class _Watch:
    """A timer that raises `_Expired` in the thread that made it, repeatedly until it ends."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._thread = ctypes.c_ulong(threading.get_ident())
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._timer = threading.Thread(target=self._wait, name="watchdog", daemon=True)

    def begin(self) -> None:
        self._timer.start()

    def end(self) -> None:
        """Stops the timer; nothing is raised any more once this has returned.

        An error that is still pending is caught here. Withdrawing it instead would leave the
        interpreter checking for it in all later code, which slows that down and makes profilers of
        Python 3.11 hang.
        """
        for _ in range(_ENDS):
            try:
                with self._lock:
                    self._over.set()
                self._timer.join()  # a call: a pending error is raised at its beginning
            except _Expired:
                continue
            break

    def _wait(self) -> None:
        seconds = self._seconds
        while not self._over.wait(seconds):
            with self._lock:
                if not self._over.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        self._thread, ctypes.py_object(_Expired)
                    )
            seconds = _AGAIN_S
