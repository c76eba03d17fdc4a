"""A study so small that a run of it takes seconds: as raw data, as a file, and as a shared run."""

from __future__ import annotations

import copy
import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

from collapipe_ns3 import Study
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.reading import study_file
from collapipe_ns3.result import Result

TINY: dict[str, Any] = {
    "name": "tiny",
    "rounds": 2,
    "model": {
        "width": 16,
        "heads": 2,
        "feed_forward": 32,
        "encoder_blocks": 2,
        "decoder_blocks": 1,
    },
    "task": {"limit": 100, "kinds": ["cardinal"], "test_size": 10, "cluster_size": 32},
    "training": {"batch_size": 8, "local_steps": 1},
    "clusters": [
        {
            "cu": "jetson-nano",
            "position": [20, 10],
            "devices": ["raspberry-pi-4", {"profile": "phone-midrange", "position": [22, 14]}],
        }
    ],
}


def tiny(**changes: Any) -> dict[str, Any]:
    """The tiny study's data with some keys replaced."""
    return {**copy.deepcopy(TINY), **changes}


def config(**changes: Any) -> StudyConfig:
    """The tiny study, checked."""
    checked, found = study_file.check(tiny(**changes))
    assert checked is not None
    assert not found, found
    return checked


def write(folder: Path, **changes: Any) -> str:
    """The tiny study as a file; its path."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny(**changes)))
    return str(path)


def many(clusters: int, devices: int, **changes: Any) -> dict[str, Any]:
    """The tiny study with so many clusters, drawn within 500 m, of so many devices each."""
    cluster = {"cu": "jetson-nano", "devices": ["raspberry-pi-4"] * devices}
    everyone = [copy.deepcopy(cluster) for _ in range(clusters)]
    return tiny(clusters=everyone, placement={"cell_radius_m": 500}, **changes)


def finished(rounds: int, scheme: str = "pipeline", seed: int = 1, **changes: Any) -> Result:
    """A finished run of the tiny study with some keys replaced, made once in each test process.

    Its directory is shared by all tests: they read it, and change copies of it.
    """
    result, _ = _run_and_folder(rounds, scheme, seed, json.dumps(changes, sort_keys=True))
    return result


@functools.cache
def _run_and_folder(
    rounds: int, scheme: str, seed: int, changes: str
) -> tuple[Result, tempfile.TemporaryDirectory[str]]:
    """The run, and the folder that it is in, which is removed when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="shared-run-")
    study = Study(config(**json.loads(changes)))
    out = Path(folder.name) / "run"
    return study.run(rounds=rounds, scheme=scheme, seed=seed, out=out), folder
