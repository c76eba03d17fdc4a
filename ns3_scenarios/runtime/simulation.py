"""Several simulations in one process: resets between them, and ns-3's errors as exceptions."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from ns3_scenarios.runtime.errors import SimulationError
from ns3_scenarios.runtime.loader import interpreter
from ns3_scenarios.runtime.own_code import native

_DEADLY = (
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGTRAP,
)

#: Held by the thread that uses ns-3, as there is one simulation per process.
_SIMULATOR = threading.RLock()

SEED_LIMIT = 2**32  # ns-3's seed has 32 bits, and 0 means none


@contextmanager
def alone() -> Iterator[None]:
    """Reserves ns-3 for this thread, from building a network to its end; other threads wait."""
    with _SIMULATOR:
        yield


def reset(seed: int, run: int) -> None:
    """Ends any simulation and prepares for the next, as if the process were new.

    Call it before building, when no container or object of the last simulation is referenced any
    more. It resets attribute defaults, addresses and random streams. `seed` is 1 … 2³²-1 and `run`
    0 … 2⁶⁴-1; others raise `ValueError`.
    """
    if not 0 < seed < SEED_LIMIT:
        raise ValueError(f"seed: expected 1 to {SEED_LIMIT - 1}, not {seed}")
    if not 0 <= run < 2**64:
        raise ValueError(f"run: expected 0 to {2**64 - 1}, not {run}")
    native().ResetSimulation(seed, run)


@contextmanager
def simulation_errors(doing: str) -> Iterator[None]:
    """Turns C++ exceptions into `SimulationError`; `doing` says what was being done."""
    try:
        yield
    except Exception as error:
        if isinstance(error, interpreter().gbl.std.exception):
            # cppyy's text: C++ signature, an arrow, the class of the exception, and its message.
            said = str(error).rpartition("=>")[2].strip().partition(": ")[2] or str(error)
            raise SimulationError(f"{doing}: {said.strip()}") from None
        raise


def rehearse(action: Callable[[], object], doing: str, limit_s: float = 60.0) -> None:
    """Runs `action` in a copy of this process, to find out whether ns-3 ends the process.

    A value of the right form and range can still make ns-3 end the process when it is used (a
    period that the standard doesn't have, two attributes that exclude each other). With attributes
    that a user has set, a network is therefore first built here. It takes a fork (about 10 ms) and
    the action. Raises `SimulationError` with ns-3's own message if the copy dies or raises, or
    takes longer than `limit_s` of wall time.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        over, alive = os.pipe()
        with warnings.catch_warnings():
            # Python warns that other threads exist; in the copy only this one runs.
            warnings.simplefilter("ignore", DeprecationWarning)
            # Ctrl-C during Python's preparations for a fork would be lost.
            usual = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            child = os.fork()
            signal.pthread_sigmask(signal.SIG_SETMASK, usual)
        if child == 0:
            os.close(over)
            _act_and_exit(action, said.fileno())
        os.close(alive)
        in_time = bool(select.select([over], [], [], limit_s)[0])  # readable when the copy ends
        os.close(over)
        if not in_time:
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if not in_time:
            raise SimulationError(f"{doing}: not done after {limit_s:g} s")
        if status:
            said.seek(0)
            raise SimulationError(f"{doing}: {_reason(said.read(), status)}")


def _act_and_exit(action: Callable[[], object], output: int) -> NoReturn:
    """What the copy does; it may not return into the caller's code."""
    status = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = sys.stderr = os.fdopen(output, "w")
        # Without ROOT's handlers, which would first have a debugger print every stack.
        for number in _DEADLY:
            signal.signal(number, signal.SIG_DFL)
        action()
        status = 0
    except BaseException as error:  # whatever it is, the parent reports it
        os.write(output, f"{error}\n".encode())
    finally:
        os._exit(status)


def _reason(output: str, status: int) -> str:
    """What ns-3 printed when it ended the process: its message, else its last line."""
    if match := re.search(r'msg="(.*?)"', output, re.DOTALL):
        return match[1].strip()
    if match := re.search(r'(ASSERT|aborted).*?cond="(.*?)"', output, re.DOTALL):
        return f"ns-3 {'requires' if match[1] == 'ASSERT' else 'refuses'} {match[2].strip()}"
    lines = output.strip().splitlines()
    return lines[-1] if lines else f"ns-3 ends the process ({_death(status)})"


def _death(status: int) -> str:
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "no word why"
