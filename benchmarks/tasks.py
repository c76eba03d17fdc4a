"""`python -m benchmarks.tasks`: real tasks over ns-3, against baselines and central training.

Each row of `tasks_rows.ROWS` is run with three seeds by the scheme `collapipe`, and the same model
is trained centrally. Results are kept as JSON in a folder, and a result that is there already is
not made again. `--document` writes docs/tasks.md and its figure from them.

The data sets are in the folder that the environment variable COLLAPIPE_DATA names, and the weights
of MiniLM in that of COLLAPIPE_MINILM; a row is skipped with a message where its data is missing.
`--quick` runs short rows on generated data instead, within about a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.tasks_rows import QUICK, ROWS, Row
from benchmarks.tasks_run import KINDS, finished, result_file, task_of

RESULTS = Path("runs/tasks")


def main(words: Sequence[str] | None = None) -> int:
    """Makes the results that are missing; returns 1 if a process failed or a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="short rows on generated data")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at a time")
    parser.add_argument("--rows", nargs="*", default=None, metavar="ROW")
    parser.add_argument("--document", action="store_true", help="write docs/tasks.md")
    options = parser.parse_args(words)
    rows = QUICK if options.quick else ROWS
    if unknown := set(options.rows or ()) - set(rows):
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(rows)}")
    chosen = {name: rows[name] for name in options.rows or rows}
    failed = make(chosen, options.results, options.jobs)
    if options.document:
        from benchmarks import tasks_document

        tasks_document.write(options.results)
    missed = [line for name, row in chosen.items() for line in verdict(name, row, options.results)]
    print(*missed, *failed, sep="\n")
    return 1 if failed or any("missed" in line for line in missed) else 0


def make(rows: Mapping[str, Row], results: Path, jobs: int) -> list[str]:
    """Makes what is missing, seeds over ns-3 first; returns a message for each that failed."""
    for row in rows.values():
        if lacking := row.lacking():
            print(f"{row.title}: skipped, {lacking}")
    able = {name: row for name, row in rows.items() if not row.lacking()}
    missing = [
        (kind, name, seed)
        for kind in KINDS
        for seed in sorted({seed for row in able.values() for seed in row.seeds})
        for name, row in able.items()
        if seed in row.seeds and not finished(result_file(results, name, kind, seed), row, seed)
    ]
    with ThreadPoolExecutor(jobs) as pool:
        failed = [line for line in pool.map(partial(_make_one, results), missing) if line]
    for name, row in able.items():
        write_baselines(row, results / name / "baselines.json")
    return failed


def _make_one(results: Path, job: tuple[str, str, int]) -> str:
    """Makes the result of a kind, row and seed in a process; returns a message if it failed."""
    kind, name, seed = job
    print(f"{name}, seed {seed}, {kind} …", flush=True)
    command = [sys.executable, "-m", "benchmarks.tasks_run", kind, name, str(seed), str(results)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    if not done.returncode:
        return ""
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return f"{name}, seed {seed}, {kind}: failed with exit code {done.returncode}: {last}"


def write_baselines(row: Row, file: Path) -> None:
    """Writes the baselines of a row, unless they are there."""
    from benchmarks.tasks_baselines import baselines
    from collapipe_ns3.learning.tasks.prepared import TextTask

    if file.exists():
        return
    task = task_of(row.load(row.seeds[0]))
    assert isinstance(task, TextTask)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(baselines(task.prepared.data), indent=1))


def verdict(name: str, row: Row, results: Path) -> Iterator[str]:
    """A line on the row's seeds against its target, if all of them are finished."""
    files = [result_file(results, name, "over-ns3", seed) for seed in row.seeds]
    if not all(file.exists() for file in files):
        return
    found = [json.loads(file.read_text())["test"][row.metric] for file in files]
    mean = sum(found) / len(found)
    word = "reached" if min(found) >= row.target else "missed"
    yield (
        f"{row.title}: {row.metric} {mean:.3f} on the test split, worst seed {min(found):.3f}: "
        f"{word} the target of {row.target:g}"
    )


if __name__ == "__main__":
    sys.exit(main())
