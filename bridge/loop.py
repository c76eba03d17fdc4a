"""An asyncio loop whose clock is a simulated network.

A standard event loop waits in its selector until the next timer; this loop simulates the network
up to that time instead. Tasks, queues, timeouts and cancellation thus all happen in simulated time,
and a protocol is written as plain `async` code.

Time is kept in integer nanoseconds. asyncio itself uses float seconds, so timers also store their
nanoseconds and are ordered by them; timers of the same time are ordered by when they were set.
Completions of the network come before timers of the same time. A time given as a float, as by
`asyncio.timeout`, is rounded to the nearest nanosecond; floats distinguish neighbouring nanoseconds
for 48 days of simulated time.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import selectors
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from bridge.network import Advance, Clock
from bridge.waits import waiting

T = TypeVar("T")

_BEAT_S = 0.1  # wall seconds between checks of the watchdog and of Ctrl-C while the network runs
_CANCELS = 10  # how often a task that does not end is cancelled before it is abandoned


class EndlessWait(RuntimeError):
    """Tasks wait for something that never happens; the message names each task and the time."""


class Deadlock(EndlessWait):
    """Tasks wait, and no event is left that could ever wake them."""


class WatchdogExpired(EndlessWait):
    """The network simulated one wait for more wall time than the watchdog allows."""


def run(clock: Clock, main: Coroutine[Any, Any, T], *, watchdog_s: float | None = None) -> T:
    """Runs a coroutine in the simulated time of `clock`; returns its result.

    Raises what the coroutine raises, `Deadlock` if tasks wait and no event is left to wake them,
    and `WatchdogExpired` if the network simulates for more than `watchdog_s` seconds of wall time
    without waking any task. Ctrl-C cancels the coroutine, and `KeyboardInterrupt` is raised once it
    has ended; within `computing` it is raised at once. In every case all tasks have ended and been
    awaited on return.
    """
    with _CtrlC() as ctrl_c:
        loop = SimulatedLoop(clock, watchdog_s)
        beat = threading.Thread(target=loop.beat, name="beat", daemon=True)
        beat.start()
        try:
            asyncio.set_event_loop(loop)
            task = ctrl_c.cancels(loop, loop.create_task(main))
            try:
                return loop.run_until_complete(task)
            except KeyboardInterrupt:
                if task.done() and not task.cancelled():
                    task.exception()  # mark as retrieved: asyncio would report it otherwise
                raise
        finally:
            try:
                _cancel_all(loop)
            finally:
                asyncio.set_event_loop(None)
                loop.over.set()
                beat.join()
                loop.close()


class _CtrlC:
    """A context in which the first Ctrl-C cancels a task, and is raised when the context ends.

    Python's own handler would raise it in the middle of a callback, as an error of the task that
    happens to run. Within `computing`, which may never return, it is nevertheless raised at once:
    there is no other way to end it. A second Ctrl-C is left to Python. The context does nothing
    outside the main thread, which alone receives signals, or where a handler other than Python's
    own is installed.
    """

    def __init__(self) -> None:
        self._pressed = False
        self._loop: SimulatedLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._usual = signal.getsignal(signal.SIGINT)
        self._ours = (
            threading.current_thread() is threading.main_thread()
            and self._usual is signal.default_int_handler
        )

    def cancels(self, loop: SimulatedLoop, task: asyncio.Task[T]) -> asyncio.Task[T]:
        """Sets the task to cancel; if Ctrl-C was pressed before, cancels it at once."""
        self._loop, self._task = loop, task
        if self._pressed:
            task.cancel()
        return task

    def __enter__(self) -> Self:
        if self._ours:
            signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, self._usual)
        # Also if the task had already ended, or ended with another error.
        if self._pressed and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from None

    def _press(self, number: int, frame: object) -> None:
        self._pressed = True
        signal.signal(signal.SIGINT, self._usual)
        if self._loop is not None and self._loop.computing:
            raise KeyboardInterrupt
        if self._task is not None:
            self._task.cancel()


def simulated_loop() -> SimulatedLoop:
    """The simulated loop that the caller runs in; raises `RuntimeError` in any other loop."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, SimulatedLoop):
        raise RuntimeError("this waits in simulated time: run it with bridge.loop.run")  # noqa: TRY004  # the call is misplaced, not its argument
    return loop


def computing(function: Callable[[], T]) -> T:
    """Calls a function; if Ctrl-C is pressed meanwhile, `KeyboardInterrupt` is raised within it.

    Outside a simulated loop Python does that anyway.
    """
    try:
        loop = simulated_loop()
    except RuntimeError:
        return function()
    try:
        loop.computing = True
        return function()
    finally:
        loop.computing = False


async def sleep_ns(duration_ns: int) -> None:
    """Waits for whole nanoseconds of simulated time."""
    await sleep_until_ns(simulated_loop().now_ns() + duration_ns)


async def sleep_until_ns(when_ns: int) -> None:
    """Waits until this simulated time, and for what the network completes at the same time."""
    loop = simulated_loop()
    awake: asyncio.Future[None] = loop.create_future()
    timer = loop.call_at_ns(when_ns, _wake, awake)
    try:
        await awake
    finally:
        timer.cancel()


class TaskGroup(asyncio.TaskGroup):
    """asyncio's task group, which cancels its tasks in the order in which they were created.

    asyncio keeps them in a set, whose order differs from run to run; but in which order transfers
    are cut has an effect on the network.
    """

    # A private attribute of asyncio; the same in CPython 3.11 to 3.14.
    _tasks: _InOrder  # type: ignore[assignment]  # typeshed has asyncio's set

    def __init__(self) -> None:
        super().__init__()
        self._tasks = _InOrder()


class _InOrder(dict[Any, None]):
    """A set in the order of insertion, as far as `asyncio.TaskGroup` uses one."""

    def add(self, each: Any) -> None:
        self[each] = None

    def discard(self, each: Any) -> None:
        self.pop(each, None)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _cancel_all(loop: SimulatedLoop) -> None:
    """Cancels all tasks and runs them to their ends, in simulated time if they take any.

    A task that waits endlessly again after its cancellation is cancelled again; the error being
    raised already names it, so another `EndlessWait` is not reported.
    """
    for _ in range(_CANCELS):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        with contextlib.suppress(EndlessWait):
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    with contextlib.suppress(EndlessWait):
        loop.run_until_complete(loop.shutdown_asyncgens())


class _Timer(asyncio.TimerHandle):
    """A timer ordered by nanoseconds and then by age; asyncio's own timers compare floats."""

    __slots__ = ("key",)

    def __init__(
        self,
        key: tuple[int, int],
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        super().__init__(key[0] / 1e9, callback, args, loop, context)
        self.key = key

    def __lt__(self, other: Any) -> bool:
        return cast("bool", self.key < other.key)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class _NetworkSelector(selectors.DefaultSelector):
    """A selector that waits by simulating the network; file descriptors are never polled."""

    wait: Callable[[], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.wait()
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """The event loop of `run`; `time()` is the network's clock in seconds."""

    # Private attributes of asyncio that this class relies on; the same in CPython 3.11 to 3.14.
    _ready: Any
    _scheduled: list[_Timer]
    _stopping: bool
    _clock_resolution: float
    _check_closed: Callable[[], None]

    def __init__(self, clock: Clock, watchdog_s: float | None) -> None:
        selector = _NetworkSelector()
        super().__init__(selector)
        selector.wait = self._let_time_pass
        self._clock = clock
        self._watchdog_s = watchdog_s
        self._sequence = itertools.count()
        self._clock_resolution = 0.0  # asyncio, which compares floats, then finds no timer due
        self._advancing = False
        self.computing = False
        self.over = threading.Event()

    def now_ns(self) -> int:
        """Simulated nanoseconds since the episode began."""
        return self._clock.now_ns()

    def time(self) -> float:
        return self._clock.now_ns() / 1e9

    def call_at(  # type: ignore[override]  # typeshed ties the arguments' types, for no gain here
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at_ns(round(when * 1e9), callback, *args, context=context)

    def call_later(  # type: ignore[override]  # as above
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        when_ns = self.now_ns() + round(delay * 1e9)
        return self.call_at_ns(when_ns, callback, *args, context=context)

    def call_at_ns(
        self,
        when_ns: int,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """`call_at` with the time in whole nanoseconds; a time in the past means now."""
        self._check_closed()
        when_ns = max(when_ns, self.now_ns())
        timer = _Timer((when_ns, next(self._sequence)), callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]  # asyncio counts cancelled ones by it
        return timer

    def beat(self) -> None:
        """Interrupts the network regularly, for the watchdog and Ctrl-C; runs in a thread."""
        while not self.over.wait(_BEAT_S):
            if self._advancing:
                self._clock.interrupt()

    def _let_time_pass(self) -> None:
        """Simulates until a callback is ready: after a completion, or at the next timers."""
        if self._ready or self._stopping:
            return
        next_ns = self._scheduled[0].key[0] if self._scheduled else None
        if next_ns is None and not self._clock.in_flight():
            raise Deadlock(self._report("nothing is under way that could wake them"))
        ended = self._advance(next_ns)
        if ended == "exhausted":
            raise Deadlock(self._report("the network has no event left"))
        if ended == "reached":
            self._ring()

    def _advance(self, until_ns: int | None) -> Advance:
        """The network's `advance`, resumed after every beat unless a callback is ready."""
        began = time.monotonic()
        self._advancing = True
        try:
            while (ended := self._clock.advance(until_ns)) == "interrupted" and not self._ready:
                waited = time.monotonic() - began
                if self._watchdog_s is not None and waited > self._watchdog_s:
                    reason = f"the network ran for {waited:.1f} s of wall time"
                    raise WatchdogExpired(self._report(f"{reason} without waking any"))
        finally:
            self._advancing = False
        return ended

    def _ring(self) -> None:
        """Makes the timers ready that are due, by their integer times."""
        now_ns = self.now_ns()
        while self._scheduled and self._scheduled[0].key[0] <= now_ns:
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]  # as in call_at_ns
            self._ready.append(timer)

    def _report(self, reason: str) -> str:
        now_s = self._clock.now_ns() * 1e-9
        lines = [f"at simulated time {now_s:.9f} s, tasks wait and {reason}:"]
        lines += [f"  task {line}" for line in waiting(self)]
        lines += [f"  transfer {line}" for line in self._clock.describe_in_flight()]
        return "\n".join(lines)
