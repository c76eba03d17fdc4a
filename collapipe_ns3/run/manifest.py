"""Under what circumstances a run was made: versions, seeds, machine, and state of the source."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from collapipe_ns3.run.code_identity import CodeIdentity, changes

PACKAGES = ("collapipe-ns3", "ns3", "cppyy", "torch", "numpy", "scipy", "pandas", "pyarrow")


def versions() -> dict[str, str | None]:
    """The installed version of each package that a result depends on, None where it is missing."""
    return {name: _version(name) for name in PACKAGES}


def manifest(scheme: str, seed: int, device: str, code: CodeIdentity) -> dict[str, Any]:
    """What a run directory keeps of the circumstances of its run."""
    return {
        "scheme": scheme,
        "seed": seed,
        "device": device,
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


def going_on(
    facts: dict[str, Any], earlier: Mapping[str, Any], rounds: int, code: CodeIdentity
) -> dict[str, Any]:
    """The manifest of a run that goes on after so many rounds, which the `earlier` one describes.

    What code made those stays recorded; where the present is another, `other_code` has it, with the
    round that it begins at.
    """
    if not rounds:
        return facts
    made = [each for each in _codes(earlier) if each[0] < rounds]
    if changes(CodeIdentity.from_json(made[-1][1]), code):
        made.append((rounds, code.to_json()))
    first, *others = made
    listed = [{"from_round": begun, "code": code} for begun, code in others]
    return {**facts, "code": first[1], **({"other_code": listed} if listed else {})}


def code_changes(
    manifest: Mapping[str, Any], rounds: Iterable[int], present: CodeIdentity
) -> tuple[str, ...]:
    """What differs, in words, between the present code and those that made these rounds."""
    made = _codes(manifest)
    of_rounds = [[code for begun, code in made if begun <= each][-1] for each in rounds]
    known = [CodeIdentity.from_json(code) for code in of_rounds]
    return tuple(dict.fromkeys(told for each in known for told in changes(each, present)))


def _codes(manifest: Mapping[str, Any]) -> list[tuple[int, Any]]:
    """The code of a run's rounds, as it was written down, from the round on that it made first."""
    made = [(0, manifest.get("code"))]
    try:
        made += [(int(each["from_round"]), each["code"]) for each in manifest.get("other_code", [])]
    except (LookupError, TypeError, ValueError):  # then nothing is known of any
        return [(0, None)]
    return made


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that runs, `+` behind it where it has changes; None if none."""
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
    # Installed into an environment that lies within somebody else's checkout, it is none of ours.
    found = described.returncode == 0 and tracked.returncode == 0
    return described.stdout.strip() if found else None
