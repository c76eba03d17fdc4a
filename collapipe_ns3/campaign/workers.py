"""Executes the runs of a campaign: in processes on this machine, or on a Dask cluster.

On this machine each run has a process of its own, forked from a server that has ns-3 and torch
loaded.
"""

from __future__ import annotations

import contextlib
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
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from collapipe_ns3.campaign import Campaign, CampaignRun
from collapipe_ns3.run.code_identity import CodeIdentity
from collapipe_ns3.study import Study
from ns3_scenarios import runtime
from run_directory.files import part_of, place_parts, sync
from run_directory.whole import examine, is_begun
from run_directory.writing import RunDirectory


@dataclass(frozen=True, slots=True)
class EndedRun:
    """The end of a run; `error` is empty where it succeeded."""

    run: CampaignRun
    error: str


def run_here(
    campaign: Campaign,
    jobs: int,
    on_round: Callable[[CampaignRun], None] = lambda run: None,
    *,
    other_code: bool = False,
) -> Generator[EndedRun, None, None]:
    """Executes the missing runs in up to `jobs` processes at a time, and yields each as it ends.

    With `other_code`, runs that other code has begun are continued too. When the caller stops
    iterating, or on Ctrl-C, the processes are ended at once; their runs keep their whole rounds.
    """
    missing = campaign.missing()
    if not missing:  # starting the fork server would take seconds
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["collapipe_ns3.campaign.preload"])
    _start_fork_server()
    running: set[BaseProcess] = set()
    stopped = threading.Event()

    def execute_one(run: CampaignRun) -> EndedRun:
        receiving, sending = context.Pipe(duplex=False)
        last, dying = context.Pipe(duplex=False)
        process = context.Process(
            target=work,
            args=(run, campaign.directory_of(run), sending, dying, other_code),
            daemon=True,
        )
        process.start()
        running.add(process)
        if stopped.is_set():
            process.terminate()
        sending.close()
        dying.close()
        error = _messages(receiving, lambda: on_round(run))
        process.join()
        running.discard(process)
        return EndedRun(run, error or _exit_error(process, last))

    with ThreadPoolExecutor(jobs) as pool:
        pending = [pool.submit(execute_one, run) for run in missing]
        try:
            for done in as_completed(pending):
                yield done.result()
        finally:
            stopped.set()
            for future in pending:
                future.cancel()
            for process in list(running):
                process.terminate()


def _messages(receiving: Connection, on_round: Callable[[], None]) -> str:
    """Receives the messages of `work` until its process ends; returns the error, else empty."""
    error = ""
    with contextlib.suppress(EOFError):
        while True:
            message: str = receiving.recv()
            if message:
                error = message
            else:
                on_round()
    return error


def _exit_error(process: BaseProcess, last: Connection) -> str:
    """Why a process that has ended did not end by itself; empty where it did.

    Where ns-3 ended it, `last` has the message as a JSON string.
    """
    if not process.exitcode:
        return ""
    if words := os.read(last.fileno(), 1 << 16):
        return str(json.loads(words))
    error = f"its process ended with exit code {process.exitcode}"
    if process.exitcode == -signal.SIGKILL:
        error += ": killed, perhaps for lack of memory; fewer --jobs need less memory"
    return error


def _start_fork_server() -> None:
    """Starts the server with Ctrl-C blocked until `campaign.preload` has set how it ends one."""
    resource_tracker.ensure_running()  # its first start would unblock Ctrl-C again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work(
    run: CampaignRun, directory: Path, sending: Connection, dying: Connection, other_code: bool
) -> None:
    """Executes a run in this process: sends an empty text after each round, or an error's message.

    Where ns-3 ends the process, the message is written to `dying`, as a JSON string.
    """
    try:
        with runtime.reporting(descriptor=dying.fileno(), before='"', after='"'):
            execute(run.study, directory, lambda: sending.send(""), other_code=other_code)
    except Exception as error:  # of whatever kind: it concerns this run alone
        sending.send(f"{type(error).__name__}: {error}")
    finally:
        sending.close()


def execute(
    study: str,
    directory: Path,
    on_round: Callable[[], None] = lambda: None,
    *,
    other_code: bool = False,
) -> None:
    """Runs a study (YAML) to its end in this directory, from where it was stopped if it was."""
    begun = is_begun(directory)
    if begun and examine(directory).study != study:
        raise ValueError(f"{directory} holds another run")
    # A worker process of a campaign that was killed may still be writing its last round.
    Study.from_yaml(study).run(
        out=directory, resume=begun, other_code=other_code, on_round=on_round, wait=True
    )
    # At the paper's scale a checkpoint takes gigabytes, and a finished run is only read.
    with RunDirectory(directory, wait=True) as writing:
        writing.delete_checkpoint(examine(directory))


def run_on_dask(
    campaign: Campaign,
    scheduler: str,
    expected: Mapping[CampaignRun, CodeIdentity] | None = None,
) -> Generator[EndedRun, None, None]:
    """Executes the missing runs on a Dask cluster, each in a process that a worker starts.

    Needs the extra `dask`, and this package on the workers' machines; no shared disk. Where
    `expected` has the code of the runs, machines with other code refuse to execute them. Raises
    `OSError` where the scheduler can't be reached.
    """
    from distributed import Client
    from distributed import as_completed as as_dask_completed

    with Client(scheduler, timeout="10s") as client:
        pending = {
            client.submit(
                execute_packed,
                run.study,
                expected[run].to_json() if expected is not None else None,
                pure=False,
            ): run
            for run in campaign.missing()
        }
        for future in as_dask_completed(list(pending)):
            run = pending[future]
            if future.status != "finished":
                yield EndedRun(run, f"on the cluster: {future.exception()}")
                continue
            packed, error = future.result()
            if not error:
                _unpack(packed, campaign.directory_of(run))
            yield EndedRun(run, error)


def execute_packed(study: str, expected_code: Mapping[str, object] | None) -> tuple[bytes, str]:
    """Runs a study (YAML) in a new process: its directory as a ZIP archive, and an error's message.

    A Dask worker can't do it itself: ns-3 allows one simulation a process, and a worker has
    threads.
    """
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder, "run")
        order = json.dumps({"study": study, "place": str(directory), "code": expected_code})
        command = [sys.executable, "-m", "collapipe_ns3.campaign.remote_run"]
        done = subprocess.run(command, input=order, capture_output=True, text=True, check=False)
        if done.returncode:
            return b"", done.stderr.strip() or f"exit code {done.returncode}"
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w") as archive:
            for file in sorted(directory.rglob("*")):
                archive.write(file, file.relative_to(directory))
        return memory.getvalue(), ""


def _unpack(packed: bytes, directory: Path) -> None:
    """Writes a run's directory from its archive, whole or not at all."""
    part = part_of(directory)
    shutil.rmtree(part, ignore_errors=True)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(part)
    sync(part)
    shutil.rmtree(directory, ignore_errors=True)
    place_parts([directory])
