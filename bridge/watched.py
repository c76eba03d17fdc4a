"""Ends code of somebody else's that computes for ever: by a watchdog, and by Ctrl-C.

The simulated loop can't look at its watchdog, nor cancel a task, while a callback computes. So what
may never return is called through `watched`, which raises an error in the middle of it. That ends
Python code alone: what computes in C is ended when it returns to Python.
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

_CALLS = 3  # that are named
_AGAIN_S = 1.0  # until the error is raised once more in code that caught it
_ENDS = 3  # attempts to end a watch: one may be met by an error before the watch is over, one after


class _Expired(BaseException):
    """Raised in code that takes too long; no `Exception`, so that few will catch it."""


def watched(function: Callable[[], T], doing: str, seconds: float | None) -> T:
    """What a function returns; in the simulated loop, too, Ctrl-C is raised within it at once.

    Raises what it raises, and `WatchdogExpired` where it takes more than so many seconds of wall
    time, which begins with `doing` and says where it was.
    """
    if seconds is None:
        return computing(function)
    watch = _Watch(seconds)
    # An error that is raised from outside comes at a call or at the end of a loop. From `begin` on
    # all of these are within the outer `try`.
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
    """The line in which the error was raised, and those that called it."""
    last = traceback.extract_tb(error.__traceback__)[-_CALLS:]
    return " → ".join(f"{Path(each.filename).name}, line {each.lineno}" for each in last)


class _Watch:
    """A timer that raises `_Expired` in the thread that made it, again and again until it ends."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._thread = ctypes.c_ulong(threading.get_ident())
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._timer = threading.Thread(target=self._wait, name="watchdog", daemon=True)

    def begin(self) -> None:
        self._timer.start()

    def end(self) -> None:
        """Nothing is raised any more once this has returned.

        What is still to be raised is taken here: to withdraw it would leave the interpreter looking
        for it for ever, which slows all that follows, and in which profilers of 3.11 hang.
        """
        for _ in range(_ENDS):
            try:
                with self._lock:
                    self._over.set()
                self._timer.join()  # a call, at whose begin what was sent is raised
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
