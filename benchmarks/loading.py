"""Seconds and memory of loading a large campaign and of a group-by over its transfers.

    python -m benchmarks.loading
    python -m benchmarks.loading --rounds 10 --transfers 1000

The campaign is synthetic: four schemes with five seeds, by default with 100 rounds each of 5 000
transfers, so that ten million rows are in 2 000 files. It has all files and digests of a real one.
Each measurement is of a new process; peaks of memory are of the whole process. The files are in the
page cache when they are read.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

import analysis
from run_directory.digests import Digests, RoundDigests, sha256
from run_directory.schemas import SCHEMAS
from run_directory.whole import DIGESTS, MANIFEST, MEDIA, PLANS, STUDY, table_file

SCHEMES = ("vanilla_fl", "pipeline", "titanic", "collapipe")
SEEDS = range(5)
ROUNDS, TRANSFERS = 100, 5000

KINDS = ("model", "activation", "gradient", "labels", "parameters", "sounding")
NODES = tuple(f"c{cluster}.d{device}" for cluster in range(8) for device in range(5))
_WORDS: Mapping[str, Sequence[str]] = {
    "kind": KINDS,
    "src": NODES,
    "dst": NODES,
    "radio": ("ofdma", "wifi"),
    "outcome": ("delivered", "lost"),
}
#: The columns by which bytes are added up.
GROUP = ["scheme", "kind"]

#: What is measured: `table` with the columns that are needed, or with all; a scan by pyarrow alone;
#: and the digests.
WAYS = ("group", "all", "scan", "digests")


def measure() -> dict[str, float]:
    """The figures of the full campaign."""
    with tempfile.TemporaryDirectory(prefix="loading-") as folder:
        campaign = write_campaign(Path(folder) / "campaign")
        return figures(campaign)


def figures(campaign: Path) -> dict[str, float]:
    """Seconds and peaks of memory in megabytes (10⁶ bytes) of each way to read a campaign.

    `cpu` times are processor seconds of all threads, which hardly depend on the load of the
    machine. `loading_s` includes the check of all digests, of which computing the digests of the
    tables takes `loading_digests_cpu_s`.
    """
    measured = {way: in_new_process(way, campaign) for way in WAYS}
    group, scan, whole = measured["group"], measured["scan"], measured["all"]
    return {
        "loading_s": group["load_s"],
        "loading_cpu_s": group["load_cpu_s"],
        "loading_digests_cpu_s": measured["digests"]["read_cpu_s"],
        "loading_group_by_s": group["read_s"],
        "loading_group_by_cpu_s": group["read_cpu_s"],
        "loading_group_by_vs_scan_ratio": group["read_cpu_s"] / scan["read_cpu_s"],
        "loading_peak_mb": group["peak_mb"],
        "loading_scan_peak_mb": scan["peak_mb"],
        "loading_all_columns_cpu_s": whole["read_cpu_s"],
        "loading_all_columns_peak_mb": whole["peak_mb"],
    }


def write_campaign(folder: Path, rounds: int = ROUNDS, transfers: int = TRANSFERS) -> Path:
    """Writes a campaign with this many rounds in each run, and transfers in each round."""
    names = [f"{scheme}-seed{seed}" for scheme in SCHEMES for seed in SEEDS]
    empty: dict[str, str] = {}
    listed = {"study": "synthetic", "cells": dict.fromkeys(names, "")}
    points = dict.fromkeys(names, empty)
    folder.mkdir(parents=True)
    (folder / "campaign.json").write_text(json.dumps({**listed, "points": points}))
    for name in names:
        scheme, seed = name.split("-seed")
        _write_run(folder / "cells" / name, scheme, int(seed), rounds, transfers)
    return folder


def _write_run(run: Path, scheme: str, seed: int, rounds: int, transfers: int) -> None:
    """Writes a run's files in one go, where a real run syncs each of its rounds to disk."""
    for name in SCHEMAS:
        (run / name).mkdir(parents=True)
    study = f"name: synthetic\nseed: {seed}\nrounds: {rounds}\nscheme:\n  name: {scheme}\n"
    head = {
        STUDY: study.encode(),
        MANIFEST: json.dumps({"format": 4, "scheme": scheme, "seed": seed}).encode(),
        MEDIA: b"[]",
    }
    lines, listed = [], []
    random = np.random.default_rng([SCHEMES.index(scheme), seed])
    for number in range(rounds):
        line = json.dumps({"round": number, "scheme": scheme, "clusters": [], "links": []}) + "\n"
        lines.append(line.encode())
        files = {
            name: _parquet(_rows(name, scheme, seed, number, transfers, random)) for name in SCHEMAS
        }
        for name, content in files.items():
            (run / table_file(name, number)).write_bytes(content)
        of_tables = {name: sha256(content) for name, content in files.items()}
        listed.append(RoundDigests(sha256(lines[-1]), of_tables, sha256(b"")))
    for name, content in {**head, PLANS: b"".join(lines)}.items():
        (run / name).write_bytes(content)
    digests = Digests(
        sha256(head[STUDY]), sha256(head[MANIFEST]), tuple(listed), media=sha256(head[MEDIA])
    )
    (run / DIGESTS).write_bytes(digests.to_bytes())


def _rows(
    name: str, scheme: str, seed: int, number: int, transfers: int, random: np.random.Generator
) -> pa.Table:
    """Random rows of a round: of `transfers` as many as given, one of `rounds`, else none."""
    count = {"transfers": transfers, "rounds": 1}.get(name, 0)
    columns = {}
    for field in SCHEMAS[name]:
        fixed: Mapping[str, object] = {"scheme": scheme, "seed": seed, "round": number}
        if field.name in fixed:
            columns[field.name] = pa.array([fixed[field.name]] * count, field.type)
        elif pa.types.is_floating(field.type):
            columns[field.name] = pa.array(random.random(count))
        elif pa.types.is_integer(field.type):
            columns[field.name] = pa.array(random.integers(0, 100_000, count))
        else:
            words = pa.array(_WORDS.get(field.name, ("",)))
            chosen = pa.array(random.integers(0, len(words), count).astype(np.int32))
            columns[field.name] = pa.DictionaryArray.from_arrays(chosen, words).cast(field.type)
    return pa.table(columns)


def _parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def in_new_process(way: str, campaign: Path) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.loading",
        "--way",
        way,
        "--campaign",
        str(campaign),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def measure_here(way: str, campaign: Path) -> dict[str, float]:
    """Times of this process, its peak of memory, and the bytes of all transfers as it read them."""
    began = _now()
    runs = analysis.load(campaign) if way in ("group", "all") else None
    loaded = _now()
    if way == "digests":
        total = _digests(campaign)
    else:
        frame = _scan(campaign) if runs is None else _read(runs, way)
        total = int(frame.groupby(GROUP, observed=True)["bytes"].sum().sum())
    ended = _now()
    return {
        "load_s": loaded[0] - began[0],
        "load_cpu_s": loaded[1] - began[1],
        "read_s": ended[0] - loaded[0],
        "read_cpu_s": ended[1] - loaded[1],
        "peak_mb": _peak_kib() * 1024 / 1e6,
        "total": total,
    }


def _peak_kib() -> int:
    """The peak memory of this process since it began (KiB).

    `ru_maxrss` would include that of the process which started this one: Linux keeps it.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def _now() -> tuple[float, float]:
    """Wall-clock and processor seconds."""
    return time.perf_counter(), time.process_time()


def _read(runs: analysis.Runs, way: str) -> pd.DataFrame:
    return runs.transfers if way == "all" else runs.table("transfers", [*GROUP, "bytes"])


def _scan(campaign: Path) -> pd.DataFrame:
    """The same columns, read by pyarrow alone."""
    files = sorted(campaign.glob("cells/*/transfers/*.parquet"))
    table = ds.dataset(list(map(str, files))).to_table(columns=[*GROUP, "bytes"])
    frame: pd.DataFrame = table.unify_dictionaries().to_pandas()
    return frame


def _digests(campaign: Path) -> int:
    """Computes the digests of all tables; returns how many files there are."""
    files = list(campaign.glob("cells/*/*/*.parquet"))
    for file in files:
        sha256(file.read_bytes())
    return len(files)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("benchmarks.loading", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each of 20 runs")
    parser.add_argument("--transfers", type=int, default=TRANSFERS, help="transfers of a round")
    parser.add_argument("--campaign", type=Path, help="where the campaign is, or is to be written")
    parser.add_argument("--way", choices=WAYS, help="measure this way here")
    options = parser.parse_args(arguments)
    if options.way:
        print(json.dumps(measure_here(options.way, options.campaign)))
        return 0
    with tempfile.TemporaryDirectory(prefix="loading-") as folder:
        campaign = options.campaign or Path(folder) / "campaign"
        if not campaign.exists():
            write_campaign(campaign, options.rounds, options.transfers)
        for key, value in figures(campaign).items():
            print(f"{key:34} {value:.4g}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
