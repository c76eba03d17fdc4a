"""Reading any study file gives a study or errors; a study that validates can be run."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

import mutants
import pytest
import typer
import yaml

from collapipe_ns3 import Study, StudyError
from collapipe_ns3.cli.terminal import failures
from collapipe_ns3.reading import study_file
from ns3_scenarios import runtime

_READ = 1000
_RUN = 60
_LONGEST_S = 10.0  # of processor time, to read one study


def unread(seed: int) -> str:
    """The failure of reading a mutated study, empty for none."""
    study = mutants.text(seed, mutants.mutant(seed))
    began = time.process_time()
    try:
        config = study_file.parse("mutant", study)
    except StudyError as error:
        lines = len(study.splitlines()) or 1
        wrong = [p for p in error.problems if p.line is None or not 1 <= p.line <= lines]
        if wrong or not all(problem.message for problem in error.problems):
            return f"{seed}: {error}"
    except BaseException:
        return f"{seed}: {traceback.format_exc()}"
    else:
        if study_file.parse("again", study_file.dump(config)) != config:
            return f"{seed}: is another study when it is read again"
    if (took_s := time.process_time() - began) > _LONGEST_S:
        return f"{seed}: {took_s:.1f} s"
    return ""


@pytest.mark.slow
def test_mutated_studies_are_read_or_refused() -> None:
    assert [found for seed in range(_READ) if (found := unread(seed))] == []


_REFUSED = 3  # exit code of a copy whose study didn't validate


def unrun(seed: int, folder: Path, longest_s: int = 120) -> tuple[str, int]:
    """The failure of a small mutated study that validates, and the exit code.

    It is run in a copy of this process, for whatever ends that ends it alone.
    """
    text = yaml.safe_dump(mutants.small_mutant(seed))
    output = folder / f"{seed}.txt"
    child = os.fork()
    if child == 0:
        _run_and_exit(text, folder / str(seed), output, longest_s)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) in (0, 1, _REFUSED):
        return "", os.WEXITSTATUS(status)
    return f"{seed}: status {status}\n{output.read_text(errors='replace')[-2000:]}\n{text}", -1


def _run_and_exit(text: str, out: Path, output: Path, longest_s: int) -> NoReturn:
    status = 4
    try:
        with output.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        signal.alarm(longest_s)
        status = _validated_and_run(text, out)
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        sys.__stderr__.flush()
        os._exit(status)


def _validated_and_run(text: str, out: Path) -> int:
    """The exit code of `run`, or that the study didn't validate; 5 where `run` alone refuses it."""
    try:
        with failures("mutant", as_json=False):
            study = Study.from_yaml(text)
            study.plan()
    except typer.Exit:
        return _REFUSED
    try:
        with failures("mutant", as_json=False):
            study.run(out=out)
    except typer.Exit as ended:
        return 5 if ended.exit_code == 2 else ended.exit_code
    return 0


def _in_this_process(folder: Path) -> None:
    """Runs one study here, so that forks of this process have everything imported and prepared."""
    Study.from_yaml(yaml.safe_dump(mutants.small(random.Random(1)))).run(out=folder / "here")


@pytest.mark.slow
def test_what_validates_runs(tmp_path: Path) -> None:
    runtime.native()
    _in_this_process(tmp_path)
    ended = [unrun(seed, tmp_path) for seed in range(_RUN)]
    assert [found for found, _ in ended if found] == []
    assert sum(code == 0 for _, code in ended) > _RUN / 4  # so that the test tests something
