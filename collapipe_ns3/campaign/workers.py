"""The cells of a campaign at work: in processes here, or on a Dask cluster.

Here, each cell has a process that is forked from one which has ns-3 and torch loaded.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from collapipe_ns3.campaign import Campaign, Cell
from collapipe_ns3.run.code_identity import CodeIdentity
from collapipe_ns3.study import Study
from ns3_scenarios import runtime
from run_directory.files import part_of, place_parts, sync
from run_directory.whole import examine, is_begun
from run_directory.writing import RunDirectory


@dataclass(frozen=True, slots=True)
class Ended:
    """How a cell ended: `error` is empty where all went well."""

    cell: Cell
    error: str


def run_here(
    campaign: Campaign,
    jobs: int,
    on_round: Callable[[Cell], None] = lambda cell: None,
    *,
    other_code: bool = False,
) -> Generator[Ended, None, None]:
    """Runs what is missing in `jobs` processes at a time, handing over each cell as it ends.

    With `other_code` cells go on that other code has begun. Where the caller stops, or Ctrl-C is
    pressed, the processes end at once, and their cells keep the rounds that are whole.
    """
    missing = campaign.missing()
    if not missing:  # which saves the seconds that a fork server takes to start
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["collapipe_ns3.campaign.warm"])
    _start_fork_server()
    running: set[BaseProcess] = set()
    stopped = threading.Event()

    def run(cell: Cell) -> Ended:
        receiving, sending = context.Pipe(duplex=False)
        last, dying = context.Pipe(duplex=False)
        process = context.Process(
            target=work, args=(cell, campaign.place(cell), sending, dying, other_code), daemon=True
        )
        process.start()
        running.add(process)
        if stopped.is_set():
            process.terminate()
        sending.close()
        dying.close()
        error = ""
        try:
            while True:
                said: str = receiving.recv()
                if said:
                    error = said
                else:
                    on_round(cell)
        except EOFError:
            process.join()
        running.discard(process)
        if process.exitcode and not error and (words := os.read(last.fileno(), 1 << 16)):
            error = json.loads(words)
        if process.exitcode and not error:
            error = f"its process ended with exit code {process.exitcode}"
            if process.exitcode == -signal.SIGKILL:
                error += ": killed, as by a system short of memory; fewer --jobs need less"
        return Ended(cell, error)

    with ThreadPoolExecutor(jobs) as pool:
        pending = [pool.submit(run, cell) for cell in missing]
        try:
            for done in as_completed(pending):
                yield done.result()
        finally:
            stopped.set()
            for future in pending:
                future.cancel()
            for process in list(running):
                process.terminate()


def _start_fork_server() -> None:
    """Starts it with Ctrl-C held back until `campaign.warm` has said how it ends a process."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work(cell: Cell, place: Path, sending: Connection, dying: Connection, other_code: bool) -> None:
    """A cell in a process of its own: sends nothing for a round, or what went wrong.

    Where ns-3 ends the process, `dying` is written the message, as a JSON string.
    """
    try:
        with runtime.reporting(descriptor=dying.fileno(), before='"', after='"'):
            execute(cell.study, place, lambda: sending.send(""), other_code=other_code)
    except Exception as error:  # whatever it is, it is this cell's alone
        sending.send(f"{type(error).__name__}: {error}")
    finally:
        sending.close()


def execute(
    study: str,
    place: Path,
    on_round: Callable[[], None] = lambda: None,
    *,
    other_code: bool = False,
) -> None:
    """Runs a cell's study to its end, from where it was stopped if it was."""
    begun = is_begun(place)
    if begun and examine(place).study != study:
        raise ValueError(f"{place} holds another run")
    # A process of a campaign that was killed may still be at its last round.
    Study.from_yaml(study).run(
        out=place, resume=begun, other_code=other_code, on_round=on_round, wait=True
    )
    # Gigabytes a cell at the paper's scale, and a finished cell is only ever read.
    with RunDirectory(place, wait=True) as directory:
        directory.delete_checkpoint(examine(place))


def run_on_dask(
    campaign: Campaign, scheduler: str, expected: Mapping[Cell, CodeIdentity] | None = None
) -> Generator[Ended, None, None]:
    """The same on a Dask cluster, each cell in a process of its own beside a worker.

    Needs the extra `dask`, and this package where the workers are; no shared disk. Where a cell's
    code is `expected`, machines that have another don't run it. Raises `OSError` where the
    scheduler can't be reached.
    """
    from distributed import Client
    from distributed import as_completed as as_dask_completed

    with Client(scheduler, timeout="10s") as client:
        pending = {
            client.submit(
                execute_packed,
                cell.study,
                expected[cell].to_json() if expected is not None else None,
                pure=False,
            ): cell
            for cell in campaign.missing()
        }
        for future in as_dask_completed(list(pending)):
            cell = pending[future]
            if future.status != "finished":
                yield Ended(cell, f"on the cluster: {future.exception()}")
                continue
            packed, error = future.result()
            if not error:
                _unpack(packed, campaign.place(cell))
            yield Ended(cell, error)


def execute_packed(study: str, expected_code: Mapping[str, object] | None) -> tuple[bytes, str]:
    """Runs a cell in a new process on whatever machine this is: its directory zipped, or an error.

    Not in the worker itself: ns-3 allows one simulation a process, and a worker has threads.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "run")
        order = json.dumps({"study": study, "place": str(place), "code": expected_code})
        command = [sys.executable, "-m", "collapipe_ns3.campaign.cell"]
        done = subprocess.run(command, input=order, capture_output=True, text=True, check=False)
        if done.returncode:
            return b"", done.stderr.strip() or f"exit code {done.returncode}"
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w") as archive:
            for file in sorted(place.rglob("*")):
                archive.write(file, file.relative_to(place))
        return memory.getvalue(), ""


def _unpack(packed: bytes, place: Path) -> None:
    """Puts a cell's directory in its place, whole or not at all."""
    part = part_of(place)
    shutil.rmtree(part, ignore_errors=True)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(part)
    sync(part)
    shutil.rmtree(place, ignore_errors=True)
    place_parts([place])
