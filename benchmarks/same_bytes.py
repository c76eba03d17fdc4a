"""Checks that another commit of this repository gives the same results, bit for bit.

`python -m benchmarks.same_bytes COMMIT` runs that commit and the working tree on the same machine
with the same packages, and compares all tables (the columns that both have, except wall-clock
times) and the tensors and numbers of the checkpoints. Messages, manifests and explanations are not
compared. Names after the commit select cases (`quickstart-seed1-lte`, or a part of a name).
`--keep FOLDER` keeps the results of that commit, so that it runs once for several comparisons.
`--here SETTING` is a setting (`--set`) of the runs with the working tree alone: by
`--here scheme.settings.exchange=star` CollaPipe is compared with commits in which it did not decide
the exchange yet; the cases of other schemes have to be left out then. The exit code is 0 where all
cases are the same, 1 where one differs, and 2 for an unknown commit.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).parent.parent
ROUNDS = 2
SEEDS = (1, 2)
#: Settings of `quickstart` with each scheme: `oracle` tries all plans, of which there are too many
#: for more blocks or sequences.
SCHEMES = {
    "local": (),
    "oracle": ("model.encoder_blocks=2", "training.batch_size=2"),
    "pipeline": (),
    "titanic": (),
    "vanilla_fl": (),
}
STUDIES = ("quickstart", "dense-interference", "mobile", "paper-bert", "paper-transformer")
STACKS = {
    "wifi": ("radio.d2d.stack=wifi",),
    "lte": ("radio.d2e.stack=lte",),
    "tcp": ("radio.d2d.transport=tcp", "radio.d2e.transport=tcp"),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One run, as the command line takes it."""

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The differences of a case; none where the results are the same."""

    case: Case
    different: tuple[str, ...]


def cases() -> Iterator[Case]:
    """Every bundled study, and `quickstart` over each radio stack and with each scheme."""
    for seed in SEEDS:
        common = (f"--seed={seed}", f"--rounds={ROUNDS}")
        for study in STUDIES:
            yield Case(f"{study}-seed{seed}", (study, *common))
        for name, settings in STACKS.items():
            sets = (f"--set={setting}" for setting in settings)
            yield Case(f"quickstart-seed{seed}-{name}", ("quickstart", *common, *sets))
        for scheme, settings in SCHEMES.items():
            sets = (f"--set={setting}" for setting in settings)
            name = f"quickstart-seed{seed}-{scheme}"
            yield Case(name, ("quickstart", *common, f"--scheme={scheme}", *sets))


def compare(
    case: Case, commit: Path, kept: Path, scratch: Path, here: Sequence[str] = ()
) -> Verdict:
    """Runs a case with the tree of a commit, unless `kept` has its results, and with this tree.

    `here` are further settings of the latter. `scratch` is an empty folder on the same file system
    as `kept`.
    """
    before, after = kept / case.name, scratch / f"{case.name}-present"
    failed: list[str] = []
    if not before.is_dir():
        # Renamed when complete, so that an interrupted comparison leaves no partial run.
        fresh = scratch / f"{case.name}-commit"
        failed += _run(case, commit, fresh)
        if not failed:
            fresh.rename(before)
    sets = (f"--set={setting}" for setting in here)
    failed += _run(Case(case.name, (*case.arguments, *sets)), ROOT, after)
    found = tuple(failed) or tuple(differences(before, after))
    shutil.rmtree(after, ignore_errors=True)
    return Verdict(case, found)


def _run(case: Case, tree: Path, place: Path) -> list[str]:
    """Runs a case; the reason in one line if the run failed, else nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "collapipe_ns3", "run", *case.arguments, "--out", str(place)],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.returncode:
        return []
    printed = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return [f"{tree}: {printed[-1]}"]


def differences(one: Path, other: Path) -> Iterator[str]:
    """The tables' columns and the checkpoint's values in which two run directories differ."""
    for table in sorted(each.name for each in one.iterdir() if each.is_dir()):
        if (other / table).is_dir():
            frames = (pd.read_parquet(place / table) for place in (one, other))
            yield from (f"{table}.{column}" for column in different_columns(*frames))
    before, after = (
        torch.load(place / "checkpoint.pt", weights_only=True) for place in (one, other)
    )
    yield from different_values(before, after, "checkpoint")


def different_columns(one: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """The columns of both frames that differ; one named `rows` where their lengths do."""
    if len(one) != len(other):
        return ["rows"]
    common = [name for name in one.columns if name in other.columns and "wall" not in name]
    return [name for name in common if not _same_column(_plain(one[name]), _plain(other[name]))]


def _same_column(one: pd.Series[Any], other: pd.Series[Any]) -> bool:
    """Whether all values are equal, with the signs of zeros; nan counts as equal to nan."""
    if not one.equals(other):
        return False
    if not pd.api.types.is_float_dtype(one.dtype):
        return True
    zeros = (one == 0).to_numpy()
    return bool((np.signbit(one.to_numpy()) == np.signbit(other.to_numpy()))[zeros].all())


def _plain(column: pd.Series[Any]) -> pd.Series[Any]:
    """The column with categories as text, as the set of categories depends on other rows."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    return column.reset_index(drop=True)


def different_values(one: Any, other: Any, where: str) -> Iterator[str]:
    """The places, present in both nested values, whose values are not equal bit for bit."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in one:
            if key in other:
                yield from different_values(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            yield f"{where}: {len(one)} and {len(other)} of them"
            return
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from different_values(a, b, f"{where}[{index}]")
    elif not _same(one, other):
        yield where


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        alike = one.dtype == other.dtype and one.shape == other.shape
        return alike and one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, float) and isinstance(other, float):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or (one == other and math.copysign(1, one) == math.copysign(1, other))
    return bool(one == other)


def extracted(commit: str, folder: Path) -> Path:
    """The files of a commit; raises `CalledProcessError` where there is no such commit."""
    packed = subprocess.run(
        ["git", "archive", "--format=tar", commit], cwd=ROOT, capture_output=True, check=True
    )
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def commit_hash(commit: str) -> str:
    """The full hash of a commit; raises `CalledProcessError` where there is no such commit."""
    found = subprocess.run(
        ["git", "rev-parse", "--verify", f"{commit}^{{commit}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.strip()


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line's `commit`, `cases`, `keep` and `here`, in any order."""
    parser = argparse.ArgumentParser("benchmarks.same_bytes", description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("cases", nargs="*", metavar="case")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--here", action="append", default=[], metavar="SETTING")
    return parser.parse_intermixed_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Compares with a commit; prints a line for each case when it ends."""
    options = parsed(arguments)
    chosen = [
        case
        for case in cases()
        if not options.cases or any(part in case.name for part in options.cases)
    ]
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=options.keep) as temporary,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        scratch = Path(temporary)
        try:
            commit = commit_hash(options.commit)
            tree = extracted(commit, scratch / "tree")
        except subprocess.CalledProcessError as error:
            print(str(error.stderr).strip(), file=sys.stderr)
            return 2
        kept = (options.keep or scratch) / commit
        kept.mkdir(exist_ok=True)
        same = True
        for verdict in pool.map(
            lambda case: compare(case, tree, kept, scratch, options.here), chosen
        ):
            same = same and not verdict.different
            print(f"{verdict.case.name:32} {', '.join(verdict.different) or 'same'}", flush=True)
    return 0 if chosen and same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
