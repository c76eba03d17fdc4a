"""The manifest of a run: versions, seed, machine, commit, task, and the identity of its code."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from collapipe_ns3.learning.protocol import Learning, Reporting, WithDigest, WithFiles
from collapipe_ns3.learning.registry import TaskFailed, failing_as
from collapipe_ns3.run.code_identity import CodeIdentity, changes
from run_directory.whole import TASK_FILE

PACKAGES = ("collapipe-ns3", "ns3", "cppyy", "torch", "numpy", "scipy", "pandas", "pyarrow")


def versions() -> dict[str, str | None]:
    """The installed version of each package that results depend on; None for a missing package."""
    return {name: _version(name) for name in PACKAGES}


def task_facts(name: str, task: Learning) -> dict[str, Any]:
    """What the manifest has of the task: its main metric, and its report and digest if any.

    Raises `TaskFailed`.
    """
    facts: dict[str, Any] = {"name": name, "metric": dataclasses.asdict(task.metric)}
    with failing_as(name, "describing its data"):
        if isinstance(task, Reporting):
            facts["report"] = json.loads(json.dumps(task.report()))
        if isinstance(task, WithDigest):
            facts["digest"] = task.digest()
    return facts


def task_files(name: str, task: Learning) -> dict[str, bytes]:
    """The files that the task puts into the run directory, by name; raises `TaskFailed`."""
    if not isinstance(task, WithFiles):
        return {}
    with failing_as(name, "giving its files"):
        files = dict(task.files())
    for file, content in files.items():
        if not TASK_FILE.fullmatch(file):
            raise TaskFailed(f"task {name}: expected a file's name such as a.json, not {file!r}")
        if not isinstance(content, bytes):
            raise TaskFailed(f"task {name}: expected the file {file} to be bytes")
    return files


def manifest(
    scheme: str, seed: int, device: str, code: CodeIdentity, task: Mapping[str, Any]
) -> dict[str, Any]:
    """The manifest of a run that begins now; `task` are its `task_facts`."""
    return {
        "scheme": scheme,
        "seed": seed,
        "device": device,
        "task": task,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": versions(),
        "git_commit": _commit(),
        "machine": {
            "platform": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
        },
        "code": code.to_json(),
    }


def resumed_manifest(
    facts: dict[str, Any], earlier: Mapping[str, Any], rounds: int, code: CodeIdentity
) -> dict[str, Any]:
    """The manifest of a run that is resumed after `rounds` rounds, which `earlier` describes.

    `facts` is the manifest of a run that would begin now. The code that made the earlier rounds
    stays recorded; where the present code differs, `other_code` has it with its first round.
    """
    if not rounds:
        return facts
    codes = [each for each in _codes(earlier) if each[0] < rounds]
    if changes(CodeIdentity.from_json(codes[-1][1]), code):
        codes.append((rounds, code.to_json()))
    first, *others = codes
    listed = [{"from_round": begun, "code": code} for begun, code in others]
    return {**facts, "code": first[1], **({"other_code": listed} if listed else {})}


def code_changes(
    manifest: Mapping[str, Any], rounds: Iterable[int], present: CodeIdentity
) -> tuple[str, ...]:
    """The differences, as text, between the present code and the code that made these rounds."""
    codes = _codes(manifest)
    of_rounds = [[code for begun, code in codes if begun <= each][-1] for each in rounds]
    identities = [CodeIdentity.from_json(code) for code in of_rounds]
    return tuple(dict.fromkeys(change for each in identities for change in changes(each, present)))


def _codes(manifest: Mapping[str, Any]) -> list[tuple[int, Any]]:
    """The recorded codes of a run, each with the first round that it made."""
    codes = [(0, manifest.get("code"))]
    try:
        codes += [
            (int(each["from_round"]), each["code"]) for each in manifest.get("other_code", [])
        ]
    except (LookupError, TypeError, ValueError):  # malformed: the code of no round is known
        return [(0, None)]
    return codes


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the running checkout, followed by `+` if it has changes; None without git."""
    folder = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", Path(__file__).name],
            cwd=folder,
            capture_output=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # Where this package is installed within another project's checkout, the commit is not ours.
    found = described.returncode == 0 and tracked.returncode == 0
    return described.stdout.strip() if found else None
