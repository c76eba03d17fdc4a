"""Damages single files of run directories, and checks all commands that read them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

import analysis
from analysis.load import TABLES, NotARun, NotWhole
from benchmarks.durability import Base, Ended, files, forked, scheme_of, unlike
from collapipe_ns3.cli.app import app
from run_directory.writing import LOCK

#: The kinds of damage, as functions of a file's content; None stands for deletion.
DAMAGES: Mapping[str, Callable[[bytes, Random], bytes] | None] = {
    "bit flip": lambda content, random: flipped(content, random.randrange(8 * len(content))),
    "truncation": lambda content, random: content[: random.randrange(len(content))],
    "deletion": None,
}


def flipped(content: bytes, bit: int) -> bytes:
    """The content with one bit flipped."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def damage(base: Base, count: int, random: Random) -> Iterator[tuple[str, str, str]]:
    """Damages one file at a time, `count` times; yields the damage, the command, and its verdict.

    The verdict is `same` or `error` where the command behaved correctly, else the fault.
    """
    trial = Base(base.folder / "trial")
    right = {target: _undamaged(base, trial, target) for target in ("run", "campaign_run")}
    choices = [
        (target, where, name, how)
        for target, where in (
            ("run", "run"),
            ("campaign_run", "campaign_run"),
            ("campaign_run", "campaign"),
        )
        for name in [*sorted(_own(getattr(base, where))), *([LOCK] if where != "campaign" else [])]
        for how in (DAMAGES if name != LOCK else ["deletion"])
    ]
    chosen = choices * (count // len(choices)) + random.sample(choices, count % len(choices))
    for target, where, name, how in chosen:
        renew(trial, base)
        place: Path = getattr(trial, where)
        _change(place / name, DAMAGES[how], random)
        for command, work in commands(base.study, trial, target).items():
            ended = forked(work, base.folder)
            found = verdict(ended, right[target][command], [str(place), name])
            if command == "resume" and found == "same":
                whole = base.whole if target == "run" else base.campaign_run
                found = ", ".join(unlike(getattr(trial, target), whole)) or found
            yield f"{how} of {where}/{name}", command, found


def _undamaged(base: Base, trial: Base, target: str) -> dict[str, Ended]:
    """The result of each command on undamaged directories."""
    renew(trial, base)
    right = {}
    for name, work in commands(base.study, trial, target).items():
        right[name] = forked(work, base.folder)
        assert right[name].code == 0, f"{name} fails without any damage: {right[name].err}"
    return right


def _own(place: Path) -> set[str]:
    """The files of a run, or of a campaign without those of its runs."""
    return {name for name in files(place) if not name.startswith("cells/")}


def renew(trial: Base, base: Base) -> None:
    """Replaces the trial's folder by a new copy of the base's."""
    shutil.rmtree(trial.folder, ignore_errors=True)
    for place in (base.run, base.campaign):
        shutil.copytree(place, trial.folder / place.name)


def _change(file: Path, how: Callable[[bytes, Random], bytes] | None, random: Random) -> None:
    content = file.read_bytes()
    file.unlink()
    if how is not None:
        file.write_bytes(how(content, random))


def commands(study: Path, trial: Base, target: str) -> dict[str, Callable[[], Any]]:
    """All commands that read a run directory or a campaign; those that change it come last."""
    place: Path = getattr(trial, target)
    whole_campaign = ["--schemes", scheme_of(study), "--seeds", "1", "--out", str(trial.campaign)]
    compare = {"compare": lambda: app(["compare", str(study), *whole_campaign, "--json"])}
    return {
        "load": lambda: load(place),
        "replay": lambda: app(["replay", str(place), "--round", "1", "--json"]),
        **(compare if target == "campaign_run" else {}),
        "resume": lambda: app(["run", str(study), "--out", str(place), "--resume"]),
    }


def load(place: Path) -> None:
    """Prints all that `analysis.load` reads."""
    try:
        run = analysis.load(place)
    except (NotARun, NotWhole) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(run.study, run.manifest, run.plans)
    for table in TABLES:
        frame: pd.DataFrame = getattr(run, table)
        print(frame.to_csv())


def verdict(ended: Ended, right: Ended, names: Sequence[str]) -> str:
    """`same`, or `error` for an error that has all these names, or else the fault."""
    if "Traceback" in ended.err or "Traceback" in ended.out:
        return f"a traceback: {ended.err.strip().splitlines()[-1]}"
    if ended.code == 2:
        named = all(name in ended.err for name in names)
        return "error" if named else f"the error names no file: {ended.err.strip()}"
    if ended.code != 0:
        return f"exit code {ended.code}: {ended.err.strip()}"
    return "same" if ended.out == right.out else "another result, silently"
