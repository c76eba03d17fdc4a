"""Shows the progress of a run: as a bar, a line that is updated, or a line for each round."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from collapipe_ns3.run.runner import Progress

Show = Callable[["Progress"], None]


@contextmanager
def shown(rounds: int, console: Console) -> Iterator[Show]:
    """Yields a function that is called after each step of a run, and shows its progress.

    A terminal shows a bar, a notebook a line that is updated, and any other output (such as a file)
    gets a line for each round.
    """
    if console.is_jupyter:
        yield _notebook_line(rounds)
    elif console.is_terminal:
        with _bar(rounds, console) as show:
            yield show
    else:
        yield lambda step: _round_line(step, rounds, console)


@contextmanager
def _bar(rounds: int, console: Console) -> Iterator[Show]:
    """The round, simulated time and latest loss, with a bar if the terminal is wide enough."""
    bar = Bar(
        SpinnerColumn(),
        TextColumn("round {task.fields[round]}/{task.fields[rounds]}"),
        *([BarColumn(bar_width=20), TimeElapsedColumn()] if console.width >= 80 else []),
        TextColumn("{task.fields[state]}"),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=rounds, round=0, rounds=rounds, state="getting ready")

        def show(step: Progress) -> None:
            bar.update(
                task,
                completed=step.round + step.step / step.steps,
                round=step.round + 1,
                state=_state(step),
            )

        yield show


def _notebook_line(rounds: int) -> Show:
    from IPython.display import display

    line = display({"text/plain": "getting ready"}, raw=True, display_id=True)

    def show(step: Progress) -> None:
        text = f"round {step.round + 1}/{rounds}, step {step.step}/{step.steps}: {_state(step)}"
        line.update({"text/plain": text}, raw=True)

    return show


def _round_line(step: Progress, rounds: int, console: Console) -> None:
    if step.step == step.steps:
        # The loss of the round itself is the mean over its steps.
        text = f"round {step.round + 1}/{rounds}: {_state(step)} (last step)"
        console.print(text, markup=False, soft_wrap=True)


def _state(step: Progress) -> str:
    return f"{step.simulated_s:.2f} s simulated, loss {step.loss:.3f}"
