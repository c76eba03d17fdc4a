"""An asyncio loop whose clock is a simulated network.

A standard selector loop asks its selector how long it may sleep; ours answers by simulating the
network that far. Tasks, queues, timeouts and cancellation then all happen in simulated time, and
a protocol is written as plain `async` code.

Time is kept in integer nanoseconds. asyncio itself speaks float seconds, so timers carry their
nanoseconds along and are ordered by them, those of one instant by the order in which they were
set; completions of the network come before timers of the same instant. A float time that is
handed in, such as that of `asyncio.timeout`, is rounded to the nearest nanosecond; floats tell
neighbouring nanoseconds apart for 48 days of simulated time.
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

_BEAT_S = 0.1  # wall seconds between looks at the watchdog and at Ctrl-C while the network runs
_CANCELS = 10  # how often a task that will not end is cancelled before it is given up


class EndlessWait(RuntimeError):
    """Tasks wait for something that does not come; the message names each and the time."""


class Deadlock(EndlessWait):
    """Nothing is left that could ever wake the tasks that wait."""


class WatchdogExpired(EndlessWait):
    """One wait took the network more wall-clock time than the watchdog allows."""


def run(clock: Clock, main: Coroutine[Any, Any, T], *, watchdog_s: float | None = None) -> T:
    """Runs a coroutine to its end in the simulated time of `clock`; returns its result.

    Raises what the coroutine raises, `Deadlock` where tasks wait with nothing left to wake them,
    and `WatchdogExpired` where the network simulates for more than `watchdog_s` wall seconds
    without ending any wait. Ctrl-C cancels the coroutine, and is raised once it has ended; while
    it is in `computing` Ctrl-C is raised there. Whatever happens, every task has ended and been
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
                    task.exception()  # the same: asyncio would report it as never retrieved
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
    """Within, the first Ctrl-C cancels a task, and is raised at the end; a second is Python's own.

    Raised amid a callback, as Python would do it, it would be an error of whatever task ran then;
    amid what may compute for ever (`computing`) that is the only way to end it. Only where Python's
    own handler is in place, and in the main thread, which alone is told.
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
        """Says which task; one that was pressed before cancels it at once."""
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
        # Also where the task had ended by then, or ended otherwise.
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
    """The simulated loop that the calling task runs in; `RuntimeError` where it is another."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, SimulatedLoop):
        raise RuntimeError("this waits in simulated time: run it with bridge.loop.run")  # noqa: TRY004  # the call is misplaced, not its argument
    return loop


def computing(function: Callable[[], T]) -> T:
    """What a function returns; if Ctrl-C is pressed meanwhile, it is raised within it.

    Where no simulated loop runs that is so anyway.
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
    """Waits until an instant of simulated time, after what the network completes at it."""
    loop = simulated_loop()
    awake: asyncio.Future[None] = loop.create_future()
    timer = loop.call_at_ns(when_ns, _wake, awake)
    try:
        await awake
    finally:
        timer.cancel()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _cancel_all(loop: SimulatedLoop) -> None:
    """Cancels what still runs and lets it end, in simulated time if it takes any.

    What waits for ever again when cancelled is cancelled again; the error being raised names it
    already, so that it is not reported twice.
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
    """A timer ordered by nanoseconds and then by age; asyncio's own compare floats only."""

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
    """Waits by letting simulated time pass. Real file descriptors are never looked at."""

    wait: Callable[[], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.wait()
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """The event loop of `run`; `time()` is the network's clock in seconds."""

    # What asyncio keeps to itself and this class relies on; the same in CPython 3.11 to 3.14.
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
        self._clock_resolution = 0.0  # asyncio's own float look at the timers never finds one due
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
        """`call_at` with the time in whole nanoseconds; a time gone by means now."""
        self._check_closed()
        when_ns = max(when_ns, self.now_ns())
        timer = _Timer((when_ns, next(self._sequence)), callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]  # asyncio counts cancelled ones by it
        return timer

    def beat(self) -> None:
        """Runs in a thread: has the network return now and then, for the watchdog and Ctrl-C."""
        while not self.over.wait(_BEAT_S):
            if self._advancing:
                self._clock.interrupt()

    def _let_time_pass(self) -> None:
        """Simulates until something is ready: a completion, or else the next timers."""
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
        """The network's `advance`, interrupted only by the watchdog and by other threads."""
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
        """Makes the timers that are due ready, by their integer times."""
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
