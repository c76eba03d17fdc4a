"""Tests run directories against kills at any write, and against damage to any file.

`python -m benchmarks.durability --kills 500 --corruptions 300` takes a quarter of an hour on two
idle cores, less where TMPDIR is in memory.

Kills: a tiny study runs in a forked process that sends itself SIGKILL at a random operation on
files (within a write, or before an open, sync or rename), or gets it at a random instant. The
directory is loaded, then the run is resumed, and perhaps killed again, until it ends. All tables,
plans and the checkpoint must equal those of an undisturbed run, and what was loaded in between must
be whole rounds of it. Then a round is replayed, which must be as recorded.

`--study levers` takes a study with multicasts, streaming and formats that need references and error
memories on both ends, under the scheme `collapipe`.

Corruptions: one file of a run or a campaign has a bit flipped, is truncated, or is deleted. Then
`analysis.load`, `run --resume`, `replay` and `compare` must each give the same result as without
the damage, or exit with code 2 and an error that names the file, without a traceback.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import torch

import analysis
from analysis.load import TABLES, NotARun, NotWhole
from benchmarks.same_bytes import different_columns, different_values
from collapipe_ns3 import Study, campaign
from collapipe_ns3.campaign import workers
from collapipe_ns3.cli.app import app
from collapipe_ns3.reading import study_file
from run_directory.whole import CHECKPOINT, PLANS, STUDY, is_begun, rounds_done
from run_directory.writing import LOCK

ROUNDS = 3
TINY = f"""
name: tiny
rounds: {ROUNDS}
model: {{width: 8, heads: 1, feed_forward: 8, encoder_blocks: 2, decoder_blocks: 1}}
task: {{limit: 30, kinds: [cardinal], test_size: 10, cluster_size: 8}}
training: {{batch_size: 4, local_steps: 1}}
clusters: [{{cu: jetson-nano, position: [20, 10], devices: [raspberry-pi-4]}}]
radio: {{d2d: {{transport: direct}}, d2e: {{transport: direct}}}}
"""

#: Two clusters get chunks in multicasts, as differences, and return the largest differences.
LEVERS = f"""
name: levers
rounds: {ROUNDS}
scheme: collapipe
model: {{width: 16, heads: 1, feed_forward: 16, encoder_blocks: 3, decoder_blocks: 1}}
task: {{limit: 30, kinds: [cardinal], test_size: 10, cluster_size: 8}}
training:
  batch_size: 4
  local_steps: 2
  exchange:
    multicast: true
    chunk_bytes: 1 kB
    down: {{numbers: int8, difference: true}}
    up: {{numbers: fp32, difference: true, largest: 0.25}}
clusters:
  - {{cu: jetson-nano, position: [20, 10], devices: [raspberry-pi-4, jetson-nano]}}
  - {{cu: jetson-nano, position: [-20, 10], devices: [phone-midrange, jetson-nano]}}
radio: {{d2d: {{transport: direct}}, d2e: {{transport: direct}}}}
"""

STUDIES = {"tiny": TINY, "levers": LEVERS}

#: A process that takes longer than this (wall time, s) is considered to hang.
LONGEST_S = 120

_MOST_KILLS = 4  # of one run

_POLL_S = 1e-3  # between two looks at a process that will be killed


@dataclass(frozen=True, slots=True)
class Ended:
    """How a forked process ended: its exit code, negative for a signal, and what it printed."""

    code: int
    out: str
    err: str


def forked(work: Callable[[], object], folder: Path, kill_after_s: float | None = None) -> Ended:
    """Calls `work` in a forked process, which has the modules of this one loaded.

    The process is killed after `kill_after_s`, unless it has ended by then.
    """
    places = [folder / name for name in ("stdout", "stderr")]
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            signal.alarm(LONGEST_S)
            for number, place in enumerate(places, start=1):
                os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            work()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    status = _status(pid, kill_after_s)
    out, err = (place.read_text(errors="replace") for place in places)
    return Ended(os.waitstatus_to_exitcode(status), out, err)


def _status(pid: int, kill_after_s: float | None) -> int:
    """The status with which a process ends, which is killed after this time."""
    if kill_after_s is None:
        return os.waitpid(pid, 0)[1]
    due = time.monotonic() + kill_after_s
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() >= due:
            os.kill(pid, signal.SIGKILL)
            return os.waitpid(pid, 0)[1]
        time.sleep(_POLL_S)


class Operations:
    """Counts a process's operations on files below a folder, and kills it at one of them."""

    def __init__(self, folder: Path, kill_at: int | None, random: Random) -> None:
        self.count = 0
        self._folder, self._kill_at, self._random = str(folder), kill_at, random
        self._ours: set[int] = set()
        self._open, self._write = os.open, os.write
        os.open, os.write = self._opened, self._written
        for name in ("fsync", "ftruncate", "mkdir", "unlink", "replace"):
            setattr(os, name, self._counted(getattr(os, name)))

    def _is_due(self) -> bool:
        self.count += 1
        return self.count - 1 == self._kill_at

    def _is_ours(self, target: Any) -> bool:
        if isinstance(target, int):
            return target in self._ours
        return str(target).startswith(self._folder)

    def _opened(self, path: Any, *rest: Any, **how: Any) -> int:
        if not self._is_ours(path):
            return self._open(path, *rest, **how)
        due = self._is_due()
        if due and self._random.random() < 0.5:
            self._die()
        descriptor = self._open(path, *rest, **how)
        if due:
            self._die()
        self._ours.add(descriptor)
        return descriptor

    def _written(self, descriptor: int, data: Any) -> int:
        if self._is_ours(descriptor) and self._is_due():
            self._write(descriptor, data[: self._random.randrange(len(data) + 1)])
            self._die()
        return self._write(descriptor, data)

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(target: Any, *rest: Any, **how: Any) -> Any:
            due = self._is_ours(target) and self._is_due()
            if due and self._random.random() < 0.5:
                self._die()
            result = real(target, *rest, **how)
            if due:
                self._die()
            return result

        return counted

    def _die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Base:
    """A study with undisturbed runs of it, to be copied and compared with.

    `run` has all rounds but the last, `whole` all of them, and `campaign` one finished run. A run
    has so many `operations` on files, and takes `wall_s`.
    """

    folder: Path
    operations: int = 0
    wall_s: float = 0.0

    @property
    def study(self) -> Path:
        return self.folder / "study.yaml"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def whole(self) -> Path:
        return self.folder / "whole"

    @property
    def campaign(self) -> Path:
        return self.folder / "campaign"

    @property
    def campaign_run(self) -> Path:
        return next((self.campaign / "cells").iterdir())


def prepared(folder: Path, study: str) -> Base:
    """Creates the base in this folder; the first run, in this process, loads all modules."""
    base = Base(folder)
    base.study.write_text(study)
    Study.load(base.study).run(out=base.whole)
    Study.load(base.study).run(out=base.run, rounds=ROUNDS - 1)
    Study.load(base.study).run(out=base.run, rounds=ROUNDS - 1, resume=True)
    run_campaign(base.study, base.campaign)
    began = time.monotonic()
    count = forked(lambda: print(_counted(base, folder / "counted")), folder)
    assert count.code == 0, count.err
    return Base(folder, int(count.out), time.monotonic() - began)


def _counted(base: Base, place: Path) -> int:
    operations = Operations(place, None, Random(0))
    run_alone(base.study, place)
    return operations.count


def run_alone(study: Path, place: Path) -> None:
    """Runs the study as `run` does, or as `run --resume` where it was begun."""
    Study.load(study).run(out=place, resume=is_begun(place) or (place / LOCK).exists())


def run_campaign(study: Path, place: Path) -> None:
    """Runs a campaign of one run as `compare` does."""
    schemes = [scheme_of(study)]
    how: dict[str, Any] = {"schemes": schemes, "seeds": [1], "grid": {}, "rounds": None}
    runs = campaign.plan_runs(str(study), (), **how)
    made = campaign.create(str(study), runs, place)
    for run in made.missing():
        workers.execute(run.study, made.directory_of(run))


def scheme_of(study: Path) -> str:
    """The name of a study's scheme."""
    return study_file.read(str(study), ()).scheme.name


def unlike(one: Path, other: Path) -> list[str]:
    """The differences between two run directories, except wall-clock times and manifests."""
    names = [files(place) for place in (one, other)]
    if names[0] != names[1]:
        return sorted(names[0] ^ names[1])
    found = [n for n in (STUDY, PLANS) if (one / n).read_bytes() != (other / n).read_bytes()]
    for table in TABLES:
        frames = (pd.read_parquet(place / table) for place in (one, other))
        found += [f"{table}.{column}" for column in different_columns(*frames)]
    if CHECKPOINT in names[0]:
        kept = (torch.load(place / CHECKPOINT, weights_only=True) for place in (one, other))
        ours, theirs = kept
        found += [*different_values(ours, theirs, CHECKPOINT), *_missing(ours, theirs, CHECKPOINT)]
    return found


def _missing(one: Any, other: Any, where: str) -> Iterator[str]:
    """The places in two nested values that only one of them has."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        yield from (f"{where}.{key}" for key in one.keys() ^ other.keys())
        for key in one.keys() & other.keys():
            yield from _missing(one[key], other[key], f"{where}.{key}")


def files(place: Path) -> set[str]:
    """The names of the files in a directory, without the lock."""
    found = {str(each.relative_to(place)) for each in place.rglob("*") if each.is_file()}
    return found - {LOCK}


def kill(base: Base, count: int, random: Random) -> Iterator[str]:
    """Kills and resumes runs, `count` kills in all; yields a line for each error found."""
    killed = 0
    while killed < count:
        work, whole = random.choice([(run_alone, base.whole), (run_campaign, base.campaign_run)])
        trial = base.folder / "trial"
        place = trial if work is run_alone else trial / "cells" / base.campaign_run.name
        shutil.rmtree(trial, ignore_errors=True)
        kills, places = random.randint(1, _MOST_KILLS), ""
        ended = Ended(-signal.SIGKILL, "", "")
        while ended.code == -signal.SIGKILL:
            at = after_s = None
            if kills > 0 and killed < count:
                if random.random() < 0.5:
                    at = random.randrange(base.operations)
                else:
                    after_s = random.uniform(0.0, base.wall_s)
            run = partial(_run_killed, work, base.study, trial, at, random)
            ended = forked(run, base.folder, after_s)
            places += f" {at}" if after_s is None else f" {after_s:.3f} s"
            if ended.code == -signal.SIGKILL:
                killed, kills = killed + 1, kills - 1
                if killed % 50 == 0:
                    print(f"… {killed} kills", file=sys.stderr)
                if wrong := _wrong_after_a_kill(place, base.whole):
                    yield f"killed at{places}: {wrong}"
        if ended.code != 0:
            yield f"killed at{places}: exit code {ended.code}: {ended.err.strip()}"
        elif different := unlike(place, whole):
            yield f"killed at{places}: differs in {', '.join(different)}"
        elif wrong := _wrong_replay(place, random.randrange(ROUNDS), base.folder):
            yield f"killed at{places}: {wrong}"


def _wrong_replay(place: Path, number: int, folder: Path) -> str:
    """How a replay of a round differs from the records; empty if it is as recorded."""
    ended = forked(lambda: app(["replay", str(place), "--round", str(number), "--json"]), folder)
    return "" if ended.code == 0 else f"replay of round {number}: {ended.out}{ended.err}".strip()


def _run_killed(
    work: Callable[[Path, Path], None], study: Path, place: Path, at: int | None, random: Random
) -> None:
    Operations(place, at, random)
    work(study, place)


def _wrong_after_a_kill(place: Path, whole: Path) -> str:
    """The error found when loading the directory of a killed process; empty for none."""
    done = rounds_done(place)
    try:
        run = analysis.load(place)
    except NotARun as error:
        return "" if not done else str(error)
    except NotWhole as error:
        return str(error)
    undisturbed = analysis.load(whole)
    for table in TABLES:
        # The two have other names, those of their directories.
        frame, expected = (getattr(each, table).drop(columns="run") for each in (run, undisturbed))
        if different := different_columns(frame, expected[expected["round"] < done]):
            return f"{table} has other {', '.join(different)}"
    return "" if run.plans == undisturbed.plans[:done] else "other plans"


def main(arguments: Sequence[str]) -> int:
    """Makes the requested kills and corruptions; the exit code is 1 where any error was found."""
    from benchmarks.damage import damage  # imported here, as it imports this module

    parser = argparse.ArgumentParser(prog="python -m benchmarks.durability")
    parser.add_argument("--kills", type=int, default=500, metavar="N")
    parser.add_argument("--corruptions", type=int, default=300, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--study", choices=STUDIES, default="tiny")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        base = prepared(Path(scratch), STUDIES[options.study])
        wrong = []
        for each in kill(base, options.kills, Random(options.seed)):
            print(each, file=sys.stderr)
            wrong.append(each)
        print(f"{options.kills} kills at {base.operations} operations: {len(wrong)} wrong")
        counts: Counter[tuple[str, str]] = Counter()
        for what, look, verdict in damage(base, options.corruptions, Random(options.seed)):
            if verdict not in ("same", "error"):
                print(f"{what}, {look}: {verdict}", file=sys.stderr)
            counts[look, verdict if verdict in ("same", "error") else "wrong"] += 1
            if verdict not in ("same", "error"):
                wrong.append(f"{what}, {look}: {verdict}")
        print(f"{options.corruptions} corruptions, each as it was seen by:")
        for look in dict.fromkeys(look for look, _ in counts):
            found = ", ".join(f"{n} {v}" for (one, v), n in sorted(counts.items()) if one == look)
            print(f"  {look}: {found}")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
