"""Code that computes for ever is ended by the watchdog and by Ctrl-C, and other code never is."""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
import sys
import threading
import time

import pytest

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork, Link
from bridge.loop import WatchdogExpired
from bridge.watched import watched


def quiet() -> FixedRateNetwork:
    return FixedRateNetwork(["a", "b"], Link(rate_bps=8_000_000_000, latency_ns=5))


def endless() -> int:
    return sum(1 for _ in itertools.count() if time.monotonic() < 0)


def stubborn() -> int:
    """Goes on after whatever error an `except Exception` catches."""
    while True:
        try:
            endless()
        except Exception:
            continue


@pytest.mark.parametrize("function", [endless, stubborn])
def test_the_watchdog_ends_it_and_says_where(function: object) -> None:
    assert callable(function)
    with pytest.raises(WatchdogExpired, match=r"^planning: .* 0\.1 s .*test_watched\.py, line \d"):
        watched(function, "planning", 0.1)


def test_the_watchdog_ends_it_in_the_simulated_loop_and_in_any_thread() -> None:
    async def main() -> None:
        watched(endless, "planning", 0.1)

    errors: list[BaseException] = []

    def run() -> None:
        try:
            simulated.run(quiet(), main())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert isinstance(errors[0], WatchdogExpired)


def test_what_ends_in_time_is_returned_and_nothing_is_raised_later() -> None:
    for _ in range(20):
        assert watched(lambda: 7, "planning", 0.05) == 7
    time.sleep(0.2)
    assert not [each for each in threading.enumerate() if each.name == "watchdog"]


def test_what_ends_just_as_the_watchdog_expires_either_ends_or_fails_and_leaves_nothing() -> None:
    """The error may arrive at any instruction, those that call the watchdog off included."""

    def nearly() -> int:
        until = time.monotonic() + 0.002
        while time.monotonic() < until:
            pass
        return 7

    for _ in range(300):
        with contextlib.suppress(WatchdogExpired):
            assert watched(nearly, "planning", 0.002) == 7
        sum(range(1000))  # whatever came too late would be raised here
    assert not [each for each in threading.enumerate() if each.name == "watchdog"]


def test_errors_of_the_function_are_its_own() -> None:
    with pytest.raises(ZeroDivisionError):
        watched(lambda: 1 // 0, "planning", 60)


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_ctrl_c_ends_it_in_the_simulated_loop(seconds: float | None) -> None:
    ended: list[str] = []

    async def main() -> None:
        try:
            watched(endless, "planning", seconds)
        finally:
            ended.append("main")

    before = signal.getsignal(signal.SIGINT)
    threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        simulated.run(quiet(), main())
    assert ended == ["main"]
    assert signal.getsignal(signal.SIGINT) is before


PROFILED = """
import sys
from bridge.watched import WatchdogExpired, watched

def endless():
    while True:
        pass

watched(int, "planning", 60.0)
try:
    watched(endless, "planning", 0.05)
except WatchdogExpired:
    pass
calls = []
sys.setprofile(lambda frame, event, argument: calls.append(event))
(lambda: None)()
sys.setprofile(None)
print(calls.count("call"))
"""


def test_the_interpreter_is_left_as_it_was() -> None:
    """Where a withdrawn error is still looked for, a profiled call never begins on Python 3.11."""
    command = [sys.executable, "-c", PROFILED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["1"]
